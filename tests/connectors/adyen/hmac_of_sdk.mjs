// Reads {module, key, items} and says of each item whether Adyen's own library believes its signature.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { module, key, items } = JSON.parse(readFileSync(0, "utf8"));
const { default: HmacValidator } = createRequire(import.meta.url)(module);
const validator = new HmacValidator();

function believes(item) {
  try {
    return validator.validateHMAC(item, key);
  } catch {
    return false;
  }
}

process.stdout.write(JSON.stringify(items.map(believes)));

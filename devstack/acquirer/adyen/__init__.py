"""The acquirer as Adyen documents its Checkout API, version 72: written from the documentation alone.

Where a sentence says "spec" it means `CheckoutService-v72.json` or `Webhooks-v1.json` of the repository
github.com/Adyen/adyen-openapi; a path stands for a page of https://docs.adyen.com.
What rests on neither is marked *guess*.
"""

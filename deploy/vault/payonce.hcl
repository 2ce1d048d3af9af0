# What payonce's API and worker processes may do in OpenBao or HashiCorp Vault, with the default names:
#   bao policy write payonce payonce.hcl
#   bao token create -policy=payonce -period=24h -orphan -field=token
# A period needs an agent that renews the token. Rotating and destroying keys is for people, with tokens of their own.

path "transit/encrypt/payonce" { capabilities = ["update"] }
path "transit/decrypt/payonce" { capabilities = ["update"] }
path "transit/keys/payonce" { capabilities = ["read"] }

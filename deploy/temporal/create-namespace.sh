#!/bin/sh
# The namespace exists and has payonce's search attributes. Safe to repeat.
set -eu
namespace="$PAYONCE_TEMPORAL_NAMESPACE"

attempt() { # a new namespace is known everywhere only after some seconds
    tries=30
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 2
    done
}

temporal operator namespace describe --namespace "$namespace" >/dev/null 2>&1 \
    || temporal operator namespace create --namespace "$namespace" --retention 720h
for attribute in MerchantId=Keyword PaymentId=Keyword PaymentStatus=Keyword Connector=Keyword \
    PaymentMethod=Keyword Currency=Keyword AmountMinor=Int EndpointId=Keyword WaitingUntil=Datetime \
    ReviewReason=Keyword FailureReason=Keyword; do
    attempt temporal operator search-attribute create --namespace "$namespace" \
        --name "${attribute%=*}" --type "${attribute#*=}"
done

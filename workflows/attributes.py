"""The search attributes by which operators find payments; registered by the development stack and in `deploy/`."""

from temporalio.common import SearchAttributeKey

MERCHANT_ID = SearchAttributeKey.for_keyword("MerchantId")
PAYMENT_ID = SearchAttributeKey.for_keyword("PaymentId")
PAYMENT_STATUS = SearchAttributeKey.for_keyword("PaymentStatus")
CONNECTOR = SearchAttributeKey.for_keyword("Connector")
PAYMENT_METHOD = SearchAttributeKey.for_keyword("PaymentMethod")
CURRENCY = SearchAttributeKey.for_keyword("Currency")
FAILURE_REASON = SearchAttributeKey.for_keyword("FailureReason")
WAITING_UNTIL = SearchAttributeKey.for_datetime("WaitingUntil")
AMOUNT_MINOR = SearchAttributeKey.for_int("AmountMinor")
REVIEW_REASON = SearchAttributeKey.for_keyword("ReviewReason")
ENDPOINT_ID = SearchAttributeKey.for_keyword("EndpointId")

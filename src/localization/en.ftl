# Texts for customers and agents. One text per reason of an error, then one per violation of a field.

# The time to wait, after "in".
wait =
    { $unit ->
        [hours]
            { $count ->
                [one] one hour
               *[other] { $count } hours
            }
       *[minutes]
            { $count ->
                [one] one minute
               *[other] { $count } minutes
            }
    }

## Errors

invalid-field = Please check your entries.
request-id-reused = This form was already submitted with other entries. Please reload the page.
invalid-page-token = The list cannot be continued here. Please start again on the first page.
customer-not-found = We do not know this customer number.
contact-not-found = This contact does not exist. It may have been deleted.
confirmation-not-found = This confirmation link is invalid. Please open the link in the latest e-mail.
order-type-not-found = This order type does not exist. Please select another one.
phone-order-not-found = We do not know this order. Its record may no longer be kept.
phone-order-denied = This order was denied. An outcome can therefore not be recorded.
outcome-already-recorded = An outcome has already been recorded for this order.
last-standard-contact = At least one contact must be of the type “Standard”. Please assign this type to another contact first.
first-contact-not-standard = The first contact must be of the type “Standard”. Please select this type as well.
invoice-email-not-allowed = To receive invoices by e-mail, the contact needs an e-mail address and the type “Standard” or “Accounting”.
no-pending-email = This contact has no e-mail address left to confirm. Please reload the page.
confirmation-expired = This confirmation link has expired. Please enter the e-mail address again.
confirmation-superseded = This confirmation link is no longer valid because the e-mail address was changed or removed. Please open the link in the latest e-mail.
ordering-address-not-on-file = This is not the e-mail address in the customer’s contact data. The order can therefore not be accepted.
grant-invalid = The proof of the caller’s identity is no longer valid. Please check the phone password or a code again.
cursor-expired = The synchronization of changes has to start from the beginning.
etag-mismatch = This data has been changed in the meantime. Please reload the page and make your change again.
conflict = This data is being changed elsewhere at the same time. Please try again.
resend-limit =
    { $limit ->
        [resends] The confirmation link has already been sent several times.
        [mails_per_address] Several confirmation e-mails have already been sent to this address.
       *[mails_per_customer] Too many confirmation e-mails have been sent for this customer in a short time.
    } Please try again in { wait }.
find-limit =
    { $limit ->
        [channel_checks_per_agent] You have checked too many phone numbers and e-mail addresses in a short time.
        [customer_searches_per_agent] You have searched for too many customers in a short time.
       *[channel_checks_per_customer] Too many phone numbers and e-mail addresses have been checked for this customer in a short time.
    } Please try again in { wait }.
phone-call-attempt-limit =
    { $limit ->
        [one] Only one attempt is possible in a phone call.
       *[other] At most { $limit } attempts are possible in a phone call.
    } Please call back on a phone number that is on file.
agent-blocked = You have entered a wrong phone password or code too often. Please try again in { wait }.
contact-limit =
    { $limit ->
        [one] Only one contact is possible.
       *[other] At most { $limit } contacts are possible.
    } Please delete one that is no longer needed first.
token-missing = Please sign in.
token-invalid = Your sign-in is invalid. Please sign in again.
token-expired = Your sign-in has expired. Please sign in again.
scope-missing = You do not have permission to do this.
customer-mismatch = You do not have access to this customer’s data.
token-keys-unavailable = Your sign-in cannot be checked at the moment. Please try again in { wait }.
database-unavailable = The service is not available at the moment. Please try again shortly.
overloaded = The service is busy at the moment. Please try again shortly.
pepper-missing = The phone password cannot be checked at the moment. The attempt was not counted. Please try again shortly.
deadline = This took too long. Please check whether your change was saved before you repeat it.
internal = Something went wrong. Please try again later, or contact us.
data-loss = The stored data cannot be read. Please contact us.
unimplemented = This function is not available.

## Fields

required = Please fill in this field.
name-missing = Please enter a display name, or a given or family name.
choice-missing = Please select what should be changed.
not-a-code = Please enter the code of 6 digits.
unknown-outcome = Please select whether the order was placed.
unknown-event-kind = This kind of event does not exist. Please select another one.
not-a-time = Please enter a valid date and time.
empty-time-range = The end must be after the beginning.
customer-number-missing = Please enter the customer number as well.
password-given-twice = Please either enter a phone password or have one generated.
unknown-salutation = This salutation does not exist. Please select another one.
all-customers-not-alone = Please select either all customers or single customer numbers.
unknown-delivery-status = Please state whether the email was delivered.
not-an-enhanced-status-code = Please enter a status code such as 5.1.1.
repeated-purpose = Please select each purpose only once.
types-missing = Please select at least one type.
channel-missing = Please enter a phone number or an e-mail address.
password-missing = Please enter a phone password, or have one generated.
ordering-address-missing = Please enter the e-mail address from which the order came.
too-long = Please enter at most { $max } characters.
too-many = At most { $max } entries are possible here.
negative = Please do not enter a negative number.
attention-line-too-short = Please enter a length of at least { $min } characters.
not-a-single-line = Please do not use line breaks or invisible characters. It is best to type the text instead of copying it.
control-characters = The text contains characters that cannot be stored. It is best to type it instead of copying it.
not-an-email-address = Please enter a valid e-mail address, for example name@company.com.
local-part-length = Please enter at least one and at most { $max } characters before the @.
local-part-characters = Please check the part before the @. You can use letters without accents, digits, single dots, and characters such as - and _.
not-a-domain = Please enter a complete domain name after the @, for example company.com.
not-a-phone-number = Please enter a valid phone number, for example +49 721 1234567 or 0721 1234567.
too-many-digits = This phone number has more than { $max } digits. Please enter each phone number separately.
several-phone-numbers = Please enter each phone number separately.
incomplete-phone-number = Please enter the phone number with its area code, for example +49 721 1234567 or 0721 1234567.
extension-not-dialable = This extension cannot be dialled directly. Please enter the phone number without the extension.
unknown-locale = Please select German or English.
unknown-contact-type = This type does not exist. Please select another one.
unknown-purpose = This purpose does not exist. Please select another one.
not-an-order-type-code = Please enter 1 to { $max } characters. You can use letters without accents, digits, dots, underscores and hyphens.
not-a-customer-number = Please enter a valid customer number. It has at most { $max } characters: letters, digits and hyphens.
reserved-customer-number = This customer number cannot be used.
other-customer = The contact belongs to another customer number.
unconfirmed = To confirm, please enter the same customer number again.
not-a-uuid = This entry is invalid. Please reload the page.
password-too-short = The phone password must have at least { $min } characters. Spaces and hyphens do not count.
password-too-long = The phone password must have at most { $max } characters. Spaces and hyphens do not count.
password-too-common = This phone password is too easy to guess. Please choose another one.
password-is-customer-number = The phone password must not be the customer number. Please choose another one.
password-is-display-name = The phone password must not be the contact’s name. Please choose another one.
not-an-updatable-field = This entry cannot be changed.
too-large = The request is too large. Please shorten your entries.
malformed = The request arrived incomplete or damaged. Please try again.

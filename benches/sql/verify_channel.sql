-- The statements of VerifyContactChannel for a phone number of a contact of the customer, in one
-- transaction: the owners of the number, and the disclosure of the first one.
-- draw number, contact_id, phone: SELECT customer_number, contact_id, phone_number FROM contact_phone_numbers
BEGIN;
SELECT contacts.contact_id, contacts.position, contacts.types, contacts.display_name,
    contact_phone_numbers.phone_number, customers.phone_number
FROM customers
LEFT JOIN contact_phone_numbers
    ON contact_phone_numbers.customer_number = customers.customer_number
    AND contact_phone_numbers.phone_number IN (:phone, left(:phone, -1), left(:phone, -2),
        left(:phone, -3), left(:phone, -4))
LEFT JOIN contacts
    ON contacts.customer_number = contact_phone_numbers.customer_number
    AND contacts.contact_id = contact_phone_numbers.contact_id
WHERE customers.customer_number = :number;
INSERT INTO audit_events (
    customer_number, sequence, event_id, event_time, actor, kind, contact_id, changed_fields, details,
    call_hash
)
SELECT customer_number, write_count, gen_random_uuid(), now(), 'bench',
    'contact.channel_verified', :contact_id::uuid, '["phone_number"]', '{"match":"EXACT"}', NULL
FROM customers WHERE customer_number = :number
FOR KEY SHARE;
COMMIT;

-- The statements of VerifyContactChannel for a phone number of a contact of the customer.
-- draw number, phone: SELECT customer_number, phone_number FROM contact_phone_numbers
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

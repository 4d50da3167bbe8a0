-- The statements of UpdateContact for a new name.
-- draw number, contact_id: SELECT customer_number, contact_id FROM contacts
BEGIN;
UPDATE customers SET write_count = write_count + 1 WHERE customers.customer_number = :number
RETURNING customer_number, email, email_key, email_bounce_time, email_works_since, phone_number,
    locale, security_notices, planned_maintenance, outages, contact_changes,
    attention_line_suppressed, attention_line_ordered_by, attention_line_order_time, review_time,
    reviewed_by, review_remind_time, version, write_count, create_time, update_time \gset
SELECT contacts.customer_number, contacts.contact_id, contacts.position, contacts.types,
    contacts.display_name, contacts.salutation, contacts.title, contacts.given_name,
    contacts.family_name, contacts.job_position, contacts.department, contacts.locale,
    contacts.email, contacts.email_key, contacts.email_confirm_time, contacts.pending_email,
    contacts.pending_email_request_time, contacts.pending_email_expire_time,
    contacts.pending_email_id, contacts.pending_email_resends, contacts.pending_email_resend_time,
    contacts.email_bounce_time, contacts.email_works_since, contacts.pending_email_bounce_time,
    contacts.invoice_email_enabled, contacts.invoice_email_lapse_time, contacts.restrictions_note,
    contacts.allowed_order_types, contacts.denied_order_types, contacts.version,
    contacts.create_time, contacts.update_time, contact_phone_numbers.phone_number,
    CASE WHEN contacts.types & 1 = 1 AND NOT EXISTS (
        SELECT 1 FROM contacts other
        WHERE other.customer_number = :number AND other.customer_number = contacts.customer_number
            AND other.contact_id <> contacts.contact_id AND other.types & 1 = 1
    ) THEN 1 ELSE 0 END,
    phone_passwords.customer_number, phone_passwords.contact_id, phone_passwords.hash,
    phone_passwords.pepper_version, phone_passwords.set_time,
    phone_passwords.consecutive_failures, phone_passwords.locked_until,
    phone_passwords.recent_failures, phone_passwords.is_revoked, phone_passwords.notice_time,
    phone_passwords.unlock_reason, phone_passwords.failed_by, phone_passwords.update_time
FROM contacts
LEFT JOIN contact_phone_numbers
    ON contacts.customer_number = contact_phone_numbers.customer_number
    AND contacts.contact_id = contact_phone_numbers.contact_id
LEFT JOIN phone_passwords
    ON contacts.customer_number = phone_passwords.customer_number
    AND contacts.contact_id = phone_passwords.contact_id
WHERE contacts.customer_number = :number
ORDER BY contacts.position ASC, contact_phone_numbers.rank ASC;
UPDATE contacts SET display_name = 'Berta Schmidt', version = version + 1, update_time = now()
WHERE contacts.customer_number = :number
    AND contacts.contact_id = :contact_id
    AND contacts.version = version;
WITH written AS (
    INSERT INTO audit_events (
        customer_number, sequence, event_id, event_time, actor, kind, contact_id, changed_fields, details
    ) VALUES (
        :number, :write_count, gen_random_uuid(), now(), 'bench', 'contact.updated', :contact_id,
        '["display_name"]', NULL
    ) RETURNING *
)
INSERT INTO feed_inbox (
    customer_number, sequence, event_id, event_time, kind, contact_id, changed_fields
)
SELECT customer_number, sequence, event_id, event_time, kind, contact_id, changed_fields FROM written;
COMMIT;

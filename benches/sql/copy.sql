-- The rows that StreamRecipients reads for all customers: resolve.sql without its condition.
COPY (
    SELECT customers.customer_number, customers.email, customers.security_notices,
        customers.planned_maintenance, customers.outages, customers.attention_line_suppressed,
        customers.locale, customers.email_bounce_time IS NOT NULL, contacts.contact_id, contacts.position, contacts.types, contacts.display_name,
        contacts.locale, contacts.email, contacts.pending_email_expire_time,
        contacts.invoice_email_enabled, contacts.email_bounce_time IS NOT NULL
    FROM customers LEFT JOIN contacts ON contacts.customer_number = customers.customer_number
) TO STDOUT;

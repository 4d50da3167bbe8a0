-- Rows that background jobs process; tests/api/background_plans.rs fills in the placeholders.
INSERT INTO customers (customer_number, security_notices, planned_maintenance, outages,
  attention_line_suppressed, review_remind_time, version, write_count, create_time, update_time)
SELECT {number}, false, false, false, false, now() + interval '1 year', 1, 1, now(), now()
FROM generate_series(0, {customers}) n;
INSERT INTO contacts (customer_number, contact_id, position, types, display_name, locale,
  invoice_email_enabled, restrictions_note, allowed_order_types, denied_order_types,
  version, create_time, update_time)
SELECT {number}, md5('{run}' || n)::uuid, 1, 1, 'Anna', 'de', false, '', '[]', '[]', 1,
  now(), now()
FROM generate_series(0, {customers}) n;
INSERT INTO contact_phone_numbers (customer_number, contact_id, rank, phone_number)
SELECT {number}, md5('{run}' || n)::uuid, 1, '+4972112345'
FROM generate_series(0, {customers}) n;
INSERT INTO request_ids (actor, request_id, customer_number, digest, response,
  expire_time)
SELECT 'agent', gen_random_uuid(), {customer}, 'x', 'null', {later} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO email_confirmations (customer_number, confirmation_id, contact_id,
  masked_email, state, expire_time, remind_time)
SELECT {customer}, gen_random_uuid(), md5('{run}' || n % {customers})::uuid, 'a***@***',
  '{settled}', {time} + interval '7 days' + n * interval '1 millisecond', NULL
FROM generate_series(1, {others}) n;
INSERT INTO email_confirmations (customer_number, confirmation_id, contact_id,
  masked_email, state, expire_time, remind_time)
SELECT {customer}, gen_random_uuid(), md5('{run}' || n % {customers})::uuid, 'a***@***',
  'pending', {later} + n * interval '1 millisecond', {later}
FROM generate_series(1, CASE WHEN {is_waiting} THEN 250 ELSE {others} END) n;
INSERT INTO confirmation_tokens (customer_number, token_hash, confirmation_id)
SELECT customer_number, sha256(confirmation_id::text::bytea), confirmation_id
FROM email_confirmations WHERE customer_number LIKE '{run}-%';
INSERT INTO outbox_mails (customer_number, mail_id, kind, contact_id, recipient,
  display_name, locale, state, attempts, due_time, create_time)
SELECT {customer}, gen_random_uuid(), 'email_replaced',
  md5('{run}' || n % {customers})::uuid, 'a@b.example', 'Anna', 'de', 'queued', 1,
  {later} + n * interval '1 millisecond', now()
FROM generate_series(1, {others}) n;
INSERT INTO outbox_mails (customer_number, mail_id, kind, contact_id, recipient,
  display_name, locale, state, attempts, due_time, create_time)
SELECT {customer}, gen_random_uuid(), 'email_replaced',
  md5('{run}' || n % {customers})::uuid, 'a@b.example', 'Anna', 'de', '{dead}', 1,
  {time} + n * interval '1 millisecond', now()
FROM generate_series(1, {others}) n WHERE {is_waiting};
INSERT INTO phone_passwords (customer_number, contact_id, hash, pepper_version, set_time,
  consecutive_failures, recent_failures, is_revoked, update_time)
SELECT {customer}, gen_random_uuid(), CASE WHEN {is_waiting} THEN NULL ELSE 'hash' END,
  CASE WHEN {is_waiting} THEN NULL ELSE 1 END,
  CASE WHEN {is_waiting} THEN NULL ELSE {time} END, 0, '[]', false,
  {time} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO phone_password_calls (customer_number, call_id, attempts, expire_time)
SELECT {customer}, '{run}-' || n, 1, {later} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO phone_password_agents (agent, failures, update_time)
SELECT '{run}-' || n, '[]', {later} - interval '3 days' + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO mail_recipients (recipient_hash, mail_times, last_time)
SELECT sha256(('{run}-' || n)::bytea), '[]', {later} - interval '3 days' + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO mail_customers (customer_number, mail_times, last_time)
SELECT {number}, '[]', {later} - interval '3 days' + n * interval '1 millisecond'
FROM generate_series(0, {customers}) n;
INSERT INTO channel_check_agents (agent, checks, window_end)
SELECT '{run}-' || n, 1, {later} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO channel_check_customers (customer_number, checks, window_end)
SELECT '{run}-' || n, 1, {later} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO customer_search_agents (agent, checks, window_end)
SELECT '{run}-' || n, 1, {later} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;
INSERT INTO one_time_codes (customer_number, contact_id, method, key_version, attempts,
  expire_time, mail_times)
SELECT {number}, md5('{run}' || n)::uuid, 'code_by_email', 1, 0,
  {later} - interval '3 days' + n * interval '1 millisecond', '[]'
FROM generate_series(0, {customers}) n;
INSERT INTO phone_orders (customer_number, authorization_id, contact_id, agent, call_id, order_type,
  customer_administers_product, system_management, offered_by_phone, requires_verified_channel,
  retired, restrictions_note, allowed_order_types, denied_order_types, channel, authentication,
  decision, decision_time)
SELECT {customer}, gen_random_uuid(), md5('{run}' || n % {customers})::uuid, 'agent', 'call',
  'reboot', false, false, true, false, false, '', '[]', '[]', 'not_verified', 'phone_password',
  'allowed', {time} + n * interval '1 millisecond'
FROM generate_series(1, {others}) n;

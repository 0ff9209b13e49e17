-- The ledger. Times are milliseconds since the Unix epoch (UTC), days are yyyymmdd in Korea,
-- ids are 64-bit TSIDs (shown as 13 base32 characters). Numbers for status, phase, queue, type,
-- purpose and lane are given in the code beside their types and are never reused.

CREATE TABLE schema_info (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- A program whose own number is lower must not read this schema.
    min_reader INTEGER NOT NULL
);
INSERT INTO schema_info (one, min_reader) VALUES (1, 1);

-- Raised by every heartbeat: whoever sees it go back knows that the ledger went back.
CREATE TABLE ledger_counter (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    counter INTEGER NOT NULL
);
INSERT INTO ledger_counter (one, counter) VALUES (1, 0);

CREATE TABLE instances (
    instance_id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL UNIQUE,
    role TEXT NOT NULL,
    frame_version INTEGER NOT NULL,
    joined_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
);

CREATE TABLE queue_taken (
    queue INTEGER PRIMARY KEY,
    queued_at INTEGER NOT NULL
);

CREATE TABLE route_health (
    route TEXT PRIMARY KEY,
    health TEXT NOT NULL,
    rate INTEGER NOT NULL,
    since INTEGER NOT NULL,
    told_by INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE partners (
    partner_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    active INTEGER NOT NULL,
    secret_hash TEXT NOT NULL,
    credential_version INTEGER NOT NULL,
    per_second INTEGER NOT NULL,
    express_per_second INTEGER NOT NULL,
    unencodable TEXT NOT NULL,
    webhook_url TEXT,
    webhook_secret BLOB NOT NULL,
    webhook_other_secret BLOB,
    webhook_other_until INTEGER,
    webhook_batch INTEGER NOT NULL,
    webhook_sent INTEGER NOT NULL,
    webhook_disabled TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sender_numbers (
    partner_id TEXT NOT NULL REFERENCES partners (partner_id),
    number TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (partner_id, number)
) WITHOUT ROWID;

CREATE TABLE refresh_tokens (
    token_hash BLOB PRIMARY KEY,
    family BLOB NOT NULL,
    partner_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX idx_refresh_family ON refresh_tokens (family);
CREATE INDEX idx_refresh_partner ON refresh_tokens (partner_id);
CREATE INDEX idx_refresh_expires ON refresh_tokens (expires_at);

CREATE TABLE messages (
    message_id INTEGER PRIMARY KEY,
    partner_id TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    message_type INTEGER NOT NULL,
    purpose INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    status INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    queue INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    owner INTEGER,
    submission_id INTEGER,
    route TEXT,
    provider_account TEXT,
    vendor_message_id TEXT,
    claimed_at INTEGER,
    -- A final answer the reporter has still to carry out, and since when.
    verdict TEXT,
    answered_at INTEGER,
    reason TEXT,
    vendor_code TEXT,
    route_closed INTEGER NOT NULL DEFAULT 0,
    poison INTEGER NOT NULL DEFAULT 0,
    sent_told INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    sent_at INTEGER,
    final_at INTEGER,
    recipient_hash BLOB NOT NULL,
    -- Open metadata as JSON.
    detail TEXT,
    -- Recipient, sender, subject, text, variables: AES-256-GCM.
    sealed BLOB NOT NULL
);
CREATE UNIQUE INDEX uk_message_partner_client_msg ON messages (partner_id, client_msg_id);
CREATE INDEX idx_message_partner_id ON messages (partner_id);
CREATE INDEX idx_message_status ON messages (status);
CREATE INDEX idx_message_created_at ON messages (created_at);
CREATE INDEX idx_message_vendor ON messages (provider_account, vendor_message_id)
    WHERE vendor_message_id IS NOT NULL;

-- What partners see: PROCESSING from the first claim on is not worth an index write.
CREATE VIEW message_status AS
SELECT message_id, partner_id, client_msg_id,
       CASE WHEN status = 1 AND claimed_at IS NOT NULL THEN 'PROCESSING'
            WHEN status = 1 THEN 'RECEIVED' WHEN status = 3 THEN 'SENT'
            WHEN status = 4 THEN 'DELIVERED' WHEN status = 5 THEN 'FAILED'
            ELSE 'EXPIRED' END AS status,
       reason, created_at, sent_at, final_at
FROM messages;

CREATE TABLE message_events (
    event_id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX idx_event_message ON message_events (message_id);

-- One row a transaction that must lead to a publish. Ids are in order of time.
CREATE TABLE outbox (
    outbox_id INTEGER PRIMARY KEY,
    owner INTEGER,
    created_at INTEGER NOT NULL,
    frames BLOB NOT NULL
);

CREATE TABLE delays (
    message_id INTEGER NOT NULL,
    -- 1 retry or deferral, 2 ask
    kind INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    route_group INTEGER NOT NULL,
    due INTEGER NOT NULL,
    PRIMARY KEY (message_id, kind)
) WITHOUT ROWID;
CREATE INDEX idx_delay_group_due ON delays (kind, route_group, due);

CREATE TABLE partner_daily_stats (
    partner_id TEXT NOT NULL,
    stat_date INTEGER NOT NULL,
    message_type INTEGER NOT NULL,
    total INTEGER NOT NULL,
    success INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    -- Set when the day's first messages are deleted: its numbers no longer come from messages.
    frozen INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX uk_stat_partner_date_type
    ON partner_daily_stats (partner_id, stat_date, message_type);
CREATE INDEX idx_stat_partner_id ON partner_daily_stats (partner_id);
CREATE INDEX idx_stat_date ON partner_daily_stats (stat_date);

CREATE TABLE webhooks (
    webhook_id INTEGER PRIMARY KEY,
    partner_id TEXT NOT NULL,
    owner INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    results INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX idx_webhook_endpoint ON webhooks (owner, partner_id, next_attempt_at);

CREATE TABLE parked_reports (
    parked_id INTEGER PRIMARY KEY,
    provider_account TEXT NOT NULL,
    vendor_message_id TEXT,
    message_id INTEGER,
    report BLOB NOT NULL,
    misses INTEGER NOT NULL,
    since INTEGER NOT NULL,
    due INTEGER NOT NULL
);
CREATE INDEX idx_parked_due ON parked_reports (due);
CREATE INDEX idx_parked_vendor ON parked_reports (provider_account, vendor_message_id);
CREATE INDEX idx_parked_message ON parked_reports (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE dead_letters (
    dead_letter_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    partner_id TEXT,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    payload BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    replayed_at INTEGER
);
CREATE INDEX idx_dead_letter_partner ON dead_letters (partner_id, dead_letter_id);
CREATE INDEX idx_dead_letter_created_at ON dead_letters (created_at);

CREATE TABLE poll_cursors (
    source TEXT PRIMARY KEY,
    cursor TEXT,
    leased_by INTEGER,
    leased_until INTEGER
) WITHOUT ROWID;

-- The embedded broker's queues. A frame in hand is known to the process alone: after a restart
-- every frame is ready again.
CREATE TABLE broker_frames (
    frame_id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
);
CREATE INDEX idx_frame_queue ON broker_frames (dead, queue, frame_id);

-- The ledger. Times are milliseconds since the Unix epoch (UTC), days are yyyymmdd in Korea, ids are
-- TSIDs in their 13 characters, which sort by time. Numbers for status, phase, queue, type, purpose
-- and lane are given in the code beside their types and are never reused.
--
-- Ids, names and words of ours are ASCII and compared bytewise; text of people is utf8mb4.

CREATE TABLE schema_info (
    one TINYINT NOT NULL PRIMARY KEY,
    -- A program whose own number is lower must not read this schema.
    min_reader BIGINT NOT NULL
) ENGINE = InnoDB;
INSERT INTO schema_info (one, min_reader) VALUES (1, 1);

-- Which keys belong to this ledger: a fingerprint, which tells nothing of a key. Whoever brings another
-- key file is refused.
CREATE TABLE installation (
    one TINYINT NOT NULL PRIMARY KEY,
    key_fingerprint BINARY(16) NOT NULL
) ENGINE = InnoDB;

-- Raised by every heartbeat: whoever sees it go back knows that the ledger went back.
CREATE TABLE ledger_counter (
    one TINYINT NOT NULL PRIMARY KEY,
    counter BIGINT NOT NULL
) ENGINE = InnoDB;
INSERT INTO ledger_counter (one, counter) VALUES (1, 0);

CREATE TABLE instances (
    instance_id CHAR(13) NOT NULL PRIMARY KEY,
    node SMALLINT NOT NULL,
    role VARCHAR(255) NOT NULL,
    frame_version INT NOT NULL,
    joined_at BIGINT NOT NULL,
    -- By the clock of the database.
    lease_until BIGINT NOT NULL,
    UNIQUE KEY uk_instance_node (node)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE queue_taken (
    queue SMALLINT NOT NULL PRIMARY KEY,
    queued_at BIGINT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE route_health (
    route VARCHAR(64) NOT NULL PRIMARY KEY,
    health VARCHAR(16) NOT NULL,
    rate INT NOT NULL,
    since BIGINT NOT NULL,
    told_by CHAR(13) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE partners (
    partner_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    secret_hash TEXT NOT NULL,
    credential_version BIGINT NOT NULL,
    per_second BIGINT NOT NULL,
    express_per_second BIGINT NOT NULL,
    unencodable VARCHAR(64) NOT NULL,
    webhook_url TEXT,
    webhook_secret BLOB NOT NULL,
    webhook_other_secret BLOB,
    webhook_other_until BIGINT,
    webhook_batch INT NOT NULL,
    webhook_sent BOOLEAN NOT NULL,
    webhook_disabled TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE sender_numbers (
    partner_id VARCHAR(32) NOT NULL,
    number VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (partner_id, number),
    CONSTRAINT fk_sender_partner FOREIGN KEY (partner_id) REFERENCES partners (partner_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE refresh_tokens (
    token_hash BINARY(32) NOT NULL PRIMARY KEY,
    family VARBINARY(32) NOT NULL,
    partner_id VARCHAR(32) NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked BOOLEAN NOT NULL DEFAULT FALSE,
    KEY idx_refresh_family (family),
    KEY idx_refresh_partner (partner_id),
    KEY idx_refresh_expires (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE messages (
    message_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    partner_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client_msg_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    digest BINARY(16) NOT NULL,
    message_type TINYINT NOT NULL,
    purpose TINYINT NOT NULL,
    lane TINYINT NOT NULL,
    status TINYINT NOT NULL,
    phase TINYINT NOT NULL,
    attempt SMALLINT NOT NULL DEFAULT 0,
    queue SMALLINT NOT NULL,
    queued_at BIGINT NOT NULL,
    owner CHAR(13) CHARACTER SET ascii COLLATE ascii_bin,
    submission_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin,
    route VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    provider_account VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin,
    vendor_message_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    claimed_at BIGINT,
    -- A final answer the reporter has still to carry out, and since when.
    verdict VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    answered_at BIGINT,
    reason VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    vendor_code VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    route_closed BOOLEAN NOT NULL DEFAULT FALSE,
    poison SMALLINT NOT NULL DEFAULT 0,
    sent_told BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    sent_at BIGINT,
    final_at BIGINT,
    recipient_hash VARBINARY(32) NOT NULL,
    -- Open metadata. A text that must be JSON, which is what MariaDB's JSON is: MySQL's would put
    -- keys in another order and round long numbers.
    detail MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin CHECK (json_valid(detail)),
    -- Recipient, sender, subject, text, variables: AES-256-GCM.
    sealed MEDIUMBLOB NOT NULL,
    UNIQUE KEY uk_message_partner_client_msg (partner_id, client_msg_id),
    KEY idx_message_partner_id (partner_id),
    KEY idx_message_status (status),
    KEY idx_message_created_at (created_at),
    -- Without the account, which is written with the claim: a claim touches no index.
    KEY idx_message_vendor (vendor_message_id)
) ENGINE = InnoDB;

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
    event_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    message_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    at BIGINT NOT NULL,
    kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    note TEXT NOT NULL,
    KEY idx_event_message (message_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row a transaction that must lead to a publish. Ids are in order of time.
CREATE TABLE outbox (
    outbox_id CHAR(13) NOT NULL PRIMARY KEY,
    owner CHAR(13),
    created_at BIGINT NOT NULL,
    frames MEDIUMBLOB NOT NULL,
    KEY idx_outbox_owner (owner, outbox_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE delays (
    message_id CHAR(13) NOT NULL,
    -- 1 retry or deferral, 2 ask, 3 last ask
    kind TINYINT NOT NULL,
    attempt SMALLINT NOT NULL,
    route_group SMALLINT NOT NULL,
    due BIGINT NOT NULL,
    PRIMARY KEY (message_id, kind),
    KEY idx_delay_group_due (kind, route_group, due)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE partner_daily_stats (
    partner_id VARCHAR(32) NOT NULL,
    stat_date INT NOT NULL,
    message_type TINYINT NOT NULL,
    total BIGINT NOT NULL,
    success BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    -- Set when the day's first messages are deleted: its numbers no longer come from messages.
    frozen BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE KEY uk_stat_partner_date_type (partner_id, stat_date, message_type),
    KEY idx_stat_partner_id (partner_id),
    KEY idx_stat_date (stat_date)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

-- How many messages a partner had accepted, per day in Korea and type: counted in the transaction
-- that keeps them, in one of a few slots, so that receivers do not wait for each other's commits.
-- Less what has ended, it tells what is in flight without looking at a message.
CREATE TABLE partner_daily_accepted (
    partner_id VARCHAR(32) NOT NULL,
    stat_date INT NOT NULL,
    message_type TINYINT NOT NULL,
    slot TINYINT NOT NULL,
    accepted BIGINT NOT NULL,
    PRIMARY KEY (partner_id, stat_date, message_type, slot)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

CREATE TABLE webhooks (
    webhook_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    partner_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    owner CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    attempt SMALLINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    results SMALLINT NOT NULL,
    body MEDIUMTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    KEY idx_webhook_endpoint (owner, partner_id, next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE parked_reports (
    parked_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    provider_account VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    vendor_message_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    message_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin,
    report BLOB NOT NULL,
    misses INT NOT NULL,
    since BIGINT NOT NULL,
    due BIGINT NOT NULL,
    KEY idx_parked_due (due),
    KEY idx_parked_vendor (provider_account, vendor_message_id),
    KEY idx_parked_message (message_id)
) ENGINE = InnoDB;

CREATE TABLE dead_letters (
    dead_letter_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    partner_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts SMALLINT NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    replayed_at BIGINT,
    KEY idx_dead_letter_partner (partner_id, dead_letter_id),
    KEY idx_dead_letter_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE poll_cursors (
    source VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    cursor_at TEXT,
    leased_by CHAR(13) CHARACTER SET ascii COLLATE ascii_bin,
    leased_until BIGINT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

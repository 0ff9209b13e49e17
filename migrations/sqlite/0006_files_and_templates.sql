-- Files that partners uploaded. The bytes, sealed, are in the file store under the id.
CREATE TABLE files (
    file_id INTEGER PRIMARY KEY,
    partner_id TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    purpose INTEGER NOT NULL,
    sealed_name BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
-- How much space a partner has taken is read from the index alone.
CREATE INDEX idx_file_partner ON files (partner_id, bytes);
CREATE INDEX idx_file_expires ON files (expires_at);

-- Templates as their channel approved them.
CREATE TABLE templates (
    partner_id TEXT NOT NULL REFERENCES partners (partner_id),
    sender_key TEXT NOT NULL,
    code TEXT NOT NULL,
    template_text TEXT NOT NULL,
    -- As JSON.
    buttons TEXT NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (partner_id, sender_key, code)
) WITHOUT ROWID;

-- Files that partners uploaded. The bytes, sealed, are in the file store under the id.
CREATE TABLE files (
    file_id CHAR(13) NOT NULL PRIMARY KEY,
    partner_id VARCHAR(32) NOT NULL,
    sha256 BINARY(32) NOT NULL,
    bytes BIGINT NOT NULL,
    media_type VARCHAR(128) NOT NULL,
    width INT,
    height INT,
    purpose TINYINT NOT NULL,
    sealed_name BLOB,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- How much space a partner has taken is read from the index alone.
    KEY idx_file_partner (partner_id, bytes),
    KEY idx_file_expires (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin;

-- Templates as their channel approved them.
CREATE TABLE templates (
    partner_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sender_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    code VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    template_text TEXT NOT NULL,
    -- As JSON.
    buttons TEXT NOT NULL,
    state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (partner_id, sender_key, code),
    CONSTRAINT fk_template_partner FOREIGN KEY (partner_id) REFERENCES partners (partner_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which keys belong to this ledger: a fingerprint, which tells nothing of a key. Whoever brings another
-- key file is refused.
CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key_fingerprint BLOB NOT NULL
);

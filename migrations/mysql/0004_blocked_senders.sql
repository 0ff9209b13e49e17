-- Since when a number is not to be sent from, because vendors refuse it, and as what.
ALTER TABLE sender_numbers
    ADD COLUMN blocked_at BIGINT,
    ADD COLUMN blocked_why VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

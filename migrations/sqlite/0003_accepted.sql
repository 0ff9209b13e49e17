-- How many messages a partner had accepted, per day in Korea and type: counted in the transaction
-- that keeps them. Less what has ended, it says what is in flight without looking at a message, and
-- it is a book of its own to compare the messages with.
CREATE TABLE partner_daily_accepted (
    partner_id TEXT NOT NULL,
    stat_date INTEGER NOT NULL,
    message_type INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    PRIMARY KEY (partner_id, stat_date, message_type)
) WITHOUT ROWID;

INSERT INTO partner_daily_accepted (partner_id, stat_date, message_type, accepted)
SELECT partner_id,
       CAST(strftime('%Y%m%d', created_at / 1000 + 32400, 'unixepoch') AS INTEGER),
       message_type, count(*)
FROM messages
GROUP BY 1, 2, 3;

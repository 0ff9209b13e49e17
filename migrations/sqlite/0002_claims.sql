-- The calls under way, by owner: a process compares them with what it has in hand every few seconds.
CREATE INDEX idx_message_claimed ON messages (owner) WHERE phase = 3;

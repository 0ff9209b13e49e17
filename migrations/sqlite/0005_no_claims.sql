-- A process knows by itself which of its calls ended without a word; nothing looks for them here.
DROP INDEX idx_message_claimed;

-- Since when a number is not to be sent from, because vendors refuse it, and as what.
ALTER TABLE sender_numbers ADD COLUMN blocked_at INTEGER;
ALTER TABLE sender_numbers ADD COLUMN blocked_why TEXT;

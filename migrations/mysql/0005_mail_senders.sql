-- A partner's senders are numbers and, since there is mail, domains.
ALTER TABLE sender_numbers MODIFY number VARCHAR(253) NOT NULL;

use async_trait::async_trait;
use sqlx::{MySqlConnection, query, query_as};

use super::{Fault, MysqlLedger, json_rows};
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::domain::template::{RegisteredTemplate, TemplateKey, TemplateState};
use crate::ledger::templates::{TemplateRow, buttons_column, key_rows};
use crate::ledger::{KeptTemplate, LedgerError, Templates};

#[async_trait]
impl Templates for MysqlLedger {
    async fn put_templates(
        &self,
        templates: &[RegisteredTemplate],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut sorted = templates.to_vec();
        sorted.sort_by(|a, b| (&a.partner, &a.key).cmp(&(&b.partner, &b.key)));
        self.transact(&(sorted, now), |tx, (templates, now)| {
            Box::pin(async move {
                for one in templates {
                    put(&mut *tx, one, *now).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn templates(
        &self,
        partner: &PartnerId,
        keys: &[TemplateKey],
    ) -> Result<Vec<KeptTemplate>, LedgerError> {
        let rows: Vec<TemplateRow> = self
            .read(&(partner, keys), |connection, (partner, keys)| {
                Box::pin(async move {
                    let rows = query_as(
                        "SELECT t.partner_id, t.sender_key, t.code, t.template_text, t.buttons, \
                         t.state, t.updated_at FROM JSON_TABLE(?, '$[*]' COLUMNS ( \
                         sender_key VARCHAR(64) CHARACTER SET ascii PATH '$[0]', \
                         code VARCHAR(64) CHARACTER SET ascii PATH '$[1]')) j \
                         STRAIGHT_JOIN templates t ON t.partner_id = ? \
                         AND t.sender_key = j.sender_key AND t.code = j.code",
                    )
                    .bind(json_rows(&key_rows(keys)))
                    .bind(partner.as_str())
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        rows.into_iter().map(TemplateRow::into_template).collect()
    }

    async fn list_templates(
        &self,
        partner: &PartnerId,
        after: Option<&TemplateKey>,
        limit: u32,
    ) -> Result<Vec<KeptTemplate>, LedgerError> {
        let after = after.map_or(("", ""), |key| (key.sender_key.as_str(), key.code.as_str()));
        let rows: Vec<TemplateRow> = self
            .read(&(partner, after, limit), |connection, given| {
                Box::pin(async move {
                    let (partner, (sender_key, code), limit) = given;
                    let rows = query_as(
                        "SELECT partner_id, sender_key, code, template_text, buttons, state, \
                         updated_at FROM templates WHERE partner_id = ? \
                         AND (sender_key > ? OR sender_key = ? AND code > ?) \
                         ORDER BY sender_key, code LIMIT ?",
                    )
                    .bind(partner.as_str())
                    .bind(*sender_key)
                    .bind(*sender_key)
                    .bind(*code)
                    .bind(*limit)
                    .fetch_all(connection)
                    .await?;
                    Ok(rows)
                })
            })
            .await?;
        rows.into_iter().map(TemplateRow::into_template).collect()
    }

    async fn set_template_state(
        &self,
        partner: &PartnerId,
        key: &TemplateKey,
        state: TemplateState,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        self.transact(&(partner, key, state, now), |tx, given| {
            Box::pin(async move {
                let (partner, key, state, now) = given;
                // Rows that were found are counted, whether they were another state's or not.
                let changed = query(
                    "UPDATE templates SET state = ?, updated_at = ? \
                     WHERE partner_id = ? AND sender_key = ? AND code = ?",
                )
                .bind(state.name())
                .bind(now.millis())
                .bind(partner.as_str())
                .bind(&key.sender_key)
                .bind(&key.code)
                .execute(tx)
                .await?;
                Ok(changed.rows_affected() == 1)
            })
        })
        .await
    }

    async fn remove_template(
        &self,
        partner: &PartnerId,
        key: &TemplateKey,
    ) -> Result<bool, LedgerError> {
        self.transact(&(partner, key), |tx, (partner, key)| {
            Box::pin(async move {
                let removed = query(
                    "DELETE FROM templates WHERE partner_id = ? AND sender_key = ? AND code = ?",
                )
                .bind(partner.as_str())
                .bind(&key.sender_key)
                .bind(&key.code)
                .execute(tx)
                .await?;
                Ok(removed.rows_affected() == 1)
            })
        })
        .await
    }
}

async fn put(
    tx: &mut MySqlConnection,
    one: &RegisteredTemplate,
    now: Timestamp,
) -> Result<(), Fault> {
    query(
        "INSERT INTO templates (partner_id, sender_key, code, template_text, buttons, state, \
         updated_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
         template_text = VALUES(template_text), buttons = VALUES(buttons), \
         state = VALUES(state), updated_at = VALUES(updated_at)",
    )
    .bind(one.partner.as_str())
    .bind(&one.key.sender_key)
    .bind(&one.key.code)
    .bind(&one.form.text)
    .bind(buttons_column(one)?)
    .bind(one.state.name())
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

use async_trait::async_trait;

use super::{SqliteLedger, from_sqlx, json_rows};
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::domain::template::{RegisteredTemplate, TemplateKey, TemplateState};
use crate::ledger::templates::{TemplateRow, buttons_column, key_rows};
use crate::ledger::{KeptTemplate, LedgerError, Templates};

#[async_trait]
impl Templates for SqliteLedger {
    async fn put_templates(
        &self,
        templates: &[RegisteredTemplate],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let templates = templates.to_vec();
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    for one in &templates {
                        sqlx::query(
                            "INSERT INTO templates (partner_id, sender_key, code, template_text, \
                             buttons, state, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?) \
                             ON CONFLICT (partner_id, sender_key, code) DO UPDATE SET \
                             template_text = excluded.template_text, buttons = excluded.buttons, \
                             state = excluded.state, updated_at = excluded.updated_at",
                        )
                        .bind(one.partner.as_str())
                        .bind(&one.key.sender_key)
                        .bind(&one.key.code)
                        .bind(&one.form.text)
                        .bind(buttons_column(one)?)
                        .bind(one.state.name())
                        .bind(now.millis())
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx)?;
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
        let rows: Vec<TemplateRow> = sqlx::query_as(
            "SELECT t.partner_id, t.sender_key, t.code, t.template_text, t.buttons, t.state, \
             t.updated_at FROM json_each(?) j CROSS JOIN templates t \
             ON t.partner_id = ? AND t.sender_key = j.value->>0 AND t.code = j.value->>1",
        )
        .bind(json_rows(&key_rows(keys)))
        .bind(partner.as_str())
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.into_iter().map(TemplateRow::into_template).collect()
    }

    async fn list_templates(
        &self,
        partner: &PartnerId,
        after: Option<&TemplateKey>,
        limit: u32,
    ) -> Result<Vec<KeptTemplate>, LedgerError> {
        let (sender_key, code) =
            after.map_or(("", ""), |key| (key.sender_key.as_str(), key.code.as_str()));
        let rows: Vec<TemplateRow> = sqlx::query_as(
            "SELECT partner_id, sender_key, code, template_text, buttons, state, updated_at \
             FROM templates WHERE partner_id = ? AND (sender_key, code) > (?, ?) \
             ORDER BY sender_key, code LIMIT ?",
        )
        .bind(partner.as_str())
        .bind(sender_key)
        .bind(code)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(from_sqlx)?;
        rows.into_iter().map(TemplateRow::into_template).collect()
    }

    async fn set_template_state(
        &self,
        partner: &PartnerId,
        key: &TemplateKey,
        state: TemplateState,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let (partner, key) = (partner.clone(), key.clone());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let changed = sqlx::query(
                        "UPDATE templates SET state = ?, updated_at = ? \
                         WHERE partner_id = ? AND sender_key = ? AND code = ?",
                    )
                    .bind(state.name())
                    .bind(now.millis())
                    .bind(partner.as_str())
                    .bind(&key.sender_key)
                    .bind(&key.code)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
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
        let (partner, key) = (partner.clone(), key.clone());
        self.writer
            .run(move |connection| {
                Box::pin(async move {
                    let removed = sqlx::query(
                        "DELETE FROM templates \
                         WHERE partner_id = ? AND sender_key = ? AND code = ?",
                    )
                    .bind(partner.as_str())
                    .bind(&key.sender_key)
                    .bind(&key.code)
                    .execute(connection)
                    .await
                    .map_err(from_sqlx)?;
                    Ok(removed.rows_affected() == 1)
                })
            })
            .await
    }
}

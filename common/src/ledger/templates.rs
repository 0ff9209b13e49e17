//! Registered templates.

use async_trait::async_trait;
use sqlx::FromRow;

use super::LedgerError;
use super::rows::partner_id;
use crate::clock::Timestamp;
use crate::domain::id::PartnerId;
use crate::domain::template::{RegisteredTemplate, TemplateForm, TemplateKey, TemplateState};

/// A template, and when it was last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTemplate {
    /// The template.
    pub template: RegisteredTemplate,
    /// When it was added or changed.
    pub updated_at: Timestamp,
}

/// The room of templates.
#[async_trait]
pub trait Templates: Send + Sync {
    /// Keeps these templates; one that is there under the same key is replaced.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn put_templates(
        &self,
        templates: &[RegisteredTemplate],
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Those of a partner's templates under these keys that are there.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn templates(
        &self,
        partner: &PartnerId,
        keys: &[TemplateKey],
    ) -> Result<Vec<KeptTemplate>, LedgerError>;

    /// A partner's templates after this key, in the order of their keys.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn list_templates(
        &self,
        partner: &PartnerId,
        after: Option<&TemplateKey>,
        limit: u32,
    ) -> Result<Vec<KeptTemplate>, LedgerError>;

    /// Changes a template's state; false if it is not there.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_template_state(
        &self,
        partner: &PartnerId,
        key: &TemplateKey,
        state: TemplateState,
        now: Timestamp,
    ) -> Result<bool, LedgerError>;

    /// Removes a template; false if it was not there.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn remove_template(
        &self,
        partner: &PartnerId,
        key: &TemplateKey,
    ) -> Result<bool, LedgerError>;
}

/// The columns of a template.
#[derive(FromRow)]
pub(super) struct TemplateRow {
    partner_id: String,
    sender_key: String,
    code: String,
    template_text: String,
    buttons: String,
    state: String,
    updated_at: i64,
}

impl TemplateRow {
    pub(super) fn into_template(self) -> Result<KeptTemplate, LedgerError> {
        let corrupt = |what: &str| LedgerError::Corrupt(what.to_owned());
        let key = TemplateKey {
            sender_key: self.sender_key,
            code: self.code,
        };
        let form = TemplateForm {
            text: self.template_text,
            buttons: serde_json::from_str(&self.buttons)
                .map_err(|_| corrupt("buttons of a template"))?,
        };
        let state = TemplateState::parse(&self.state);
        Ok(KeptTemplate {
            template: RegisteredTemplate {
                partner: partner_id(&self.partner_id)?,
                key,
                form,
                state: state.ok_or_else(|| corrupt("state of a template"))?,
            },
            updated_at: Timestamp::from_millis(self.updated_at),
        })
    }
}

/// A template's buttons as their column holds them.
pub(super) fn buttons_column(template: &RegisteredTemplate) -> Result<String, LedgerError> {
    serde_json::to_string(&template.form.buttons)
        .map_err(|error| LedgerError::Refused(error.to_string()))
}

/// The keys to look templates up by.
pub(super) fn key_rows(keys: &[TemplateKey]) -> Vec<serde_json::Value> {
    let row = |key: &TemplateKey| serde_json::json!([key.sender_key, key.code]);
    keys.iter().map(row).collect()
}

//! What the ledger knows of that requests refer to, so that they can be judged without it.

use std::collections::HashMap;
use std::sync::Arc;

use pabal_common::clock::Timestamp;
use pabal_common::domain::file::{FilePurpose, FileRef};
use pabal_common::domain::id::{FileId, PartnerId};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::template::{RegisteredTemplate, TemplateKey};

use super::attachment::attachment_rules;
use super::limits::{LONGEST_CHANNEL_ID, LONGEST_TEMPLATE_CODE};
use super::request::MessageRequest;
use super::template;

/// A file that can be attached.
pub(crate) struct KnownFile {
    pub(crate) partner: PartnerId,
    pub(crate) purpose: FilePurpose,
    /// As a message refers to it.
    pub(crate) reference: FileRef,
    pub(crate) expires_at: Timestamp,
}

/// What one partner's requests may refer to.
#[derive(Default)]
pub(crate) struct Known {
    /// The partner's files that are not expired.
    pub(crate) files: HashMap<FileId, Arc<KnownFile>>,
    /// The partner's templates.
    pub(crate) templates: HashMap<TemplateKey, Arc<RegisteredTemplate>>,
    /// Whether an Alimtalk without a registered template is refused.
    pub(crate) templates_required: bool,
}

/// Something in the ledger that a request refers to.
pub(crate) enum Reference {
    /// A file.
    File(FileId),
    /// A template.
    Template(TemplateKey),
}

/// What a request refers to. More than a good request can name is not looked up: it will be refused.
pub(crate) fn references(request: &MessageRequest) -> impl Iterator<Item = Reference> + use<> {
    let kind = request.kind.as_deref().and_then(MessageType::parse);
    let most = kind
        .and_then(attachment_rules)
        .map_or(0, |rules| rules.most);
    let attachments = request.attachments.iter().flatten().take(most);
    let ids = attachments.filter_map(|attachment| attachment.file_id.as_ref()?.parse().ok());
    let files = ids.map(Reference::File).collect::<Vec<_>>();
    let has_templates = kind == Some(MessageType::KakaoAlimtalk);
    let fits = |key: &TemplateKey| {
        key.code.len() <= LONGEST_TEMPLATE_CODE && key.sender_key.len() <= LONGEST_CHANNEL_ID
    };
    let template = template::named(request).filter(|key| has_templates && fits(key));
    files.into_iter().chain(template.map(Reference::Template))
}

//! The files of a message: how many and how large, and which of the partner's they are.

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::file::{FilePurpose, FileRef};
use pabal_common::domain::id::FileId;
use pabal_common::domain::kind::MessageType;
use pabal_common::http::{ApiError, Detail};

use super::known::Known;
use super::limits::{
    LARGEST_MAIL_FILES, LARGEST_PICTURES, MOST_ATTACHMENTS, MOST_MAIL_ATTACHMENTS,
};
use super::request::AttachmentRequest;

/// What a message type takes in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentRules {
    /// What they must have been uploaded for.
    pub purpose: FilePurpose,
    /// How many.
    pub most: usize,
    /// How many bytes together.
    pub together: u64,
}

/// The files of `kind`, if it takes any.
pub const fn attachment_rules(kind: MessageType) -> Option<AttachmentRules> {
    match kind {
        MessageType::Mms => Some(AttachmentRules {
            purpose: FilePurpose::Mms,
            most: MOST_ATTACHMENTS,
            together: LARGEST_PICTURES as u64,
        }),
        MessageType::Email => Some(AttachmentRules {
            purpose: FilePurpose::Mail,
            most: MOST_MAIL_ATTACHMENTS,
            together: LARGEST_MAIL_FILES as u64,
        }),
        _ => None,
    }
}

/// The files of a message of type `kind`; types without files have been sorted out before.
pub(super) fn check_attachments(
    kind: MessageType,
    requests: &[AttachmentRequest],
    known: &Known,
) -> Result<Vec<FileRef>, ApiError> {
    let Some(rules) = attachment_rules(kind) else {
        return Ok(Vec::new());
    };
    if requests.len() > rules.most {
        return Err(ApiError::new(ErrorReason::InvalidValue).detail(
            Detail::new("attachments", "maxItems")
                .limit(rules.most as u64)
                .actual(requests.len() as u64)
                .unit("ITEM"),
        ));
    }
    let requests = requests.iter().enumerate();
    let files = requests.map(|(place, request)| check_attachment(rules, place, request, known));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let together: u64 = files.iter().map(|file| file.bytes).sum();
    if together > rules.together {
        return Err(ApiError::new(ErrorReason::AttachmentsTooLarge).detail(
            Detail::new("attachments", "maxBytes")
                .limit(rules.together)
                .actual(together)
                .unit("BYTE"),
        ));
    }
    Ok(files)
}

fn check_attachment(
    rules: AttachmentRules,
    place: usize,
    request: &AttachmentRequest,
    known: &Known,
) -> Result<FileRef, ApiError> {
    let refused = |reason, rule: &'static str| {
        (
            reason,
            Detail::new(format!("attachments[{place}].fileId"), rule),
        )
    };
    let told = |(reason, detail)| ApiError::new(reason).detail(detail);
    let Some(id) = &request.file_id else {
        return Err(told(refused(ErrorReason::MissingField, "required")));
    };
    // Another partner's file looks like none.
    let file = id
        .parse::<FileId>()
        .ok()
        .and_then(|id| known.files.get(&id));
    let Some(file) = file else {
        return Err(told(refused(ErrorReason::FileNotFound, "exists")));
    };
    if file.purpose != rules.purpose {
        let (reason, detail) = refused(ErrorReason::InvalidValue, "purpose");
        return Err(told((reason, detail.expected(rules.purpose.name()))));
    }
    Ok(file.reference.clone())
}

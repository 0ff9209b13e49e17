//! `POST /v1/files`.
//!
//! The body is the file as it is. A form (`multipart/form-data`) would wrap one file into a format with
//! limits of its own, and base64 in JSON makes it a third larger; every HTTP client can send a file as
//! a body. The name is in the query, since a header cannot carry Korean.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use pabal_common::deadline::in_time;
use pabal_common::domain::code::{Code, ErrorReason};
use pabal_common::domain::file::{FileDigest, FilePurpose};
use pabal_common::files::FileError;
use pabal_common::http::{ApiError, BodyLimits, BoundedBody, Detail, ErrorBody, QueryParams};
use pabal_common::ledger::{Partner, StoredFile};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::jpeg::{self, NotAPicture};
use crate::auth::Caller;
use crate::receiver::{LEDGER_LIMIT, Shared};
use crate::send::take_room;

/// What every vendor of MMS takes. Where they say KB, 1,000 bytes are meant here: no vendor can read it
/// more narrowly.
pub(crate) const LARGEST_PICTURE: usize = 300_000;
pub(crate) const MOST_PIXELS: u16 = 1000;
/// The attachments of a mail may have so many bytes together, so one of them too.
pub(crate) const LARGEST_FILE: usize = 10 << 20;

/// Characters of a name: as long as file systems allow, in Korean.
const LONGEST_NAME: usize = 85;
const LONGEST_MEDIA_TYPE: usize = 128;
const JPEG: &str = "image/jpeg";
const ANY_BYTES: &str = "application/octet-stream";
/// When room may have become free. Files go by the hour.
const SPACE_AGAIN: Duration = Duration::from_secs(3600);

/// What the file is.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadRequest {
    /// What it is for: `MMS`, a picture of an MMS; `MAIL`, an attachment of a mail.
    #[param(value_type = FilePurpose)]
    purpose: String,
    /// Its name, at most 85 characters, percent-encoded UTF-8. Recipients of a mail see it.
    name: Option<String>,
}

/// A file that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadAnswer {
    /// `0000`.
    #[schema(example = "0000")]
    code: Code,
    /// Its id, for `attachments`.
    #[schema(example = "0Q4JX2T7N8M9R")]
    file_id: String,
    /// The SHA-256 of what arrived, in lower-case hex.
    sha256: String,
    /// How many bytes arrived.
    #[schema(example = 48213)]
    bytes: usize,
    /// Width in pixels, of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    /// Height in pixels, of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    /// Until when it can be attached. It is kept longer for messages that were accepted with it.
    #[schema(example = "2026-11-28T04:15:30.123Z")]
    expires_at: String,
}

/// Upload a file
///
/// The body is the file as it is. A picture for MMS is a JPEG of at most 300 KB (300,000 bytes) and 1000×1000
/// pixels; an attachment of a mail has at most 10 MiB. One file can be attached to any number of messages,
/// and only to your own. It costs one request of your rate.
#[utoipa::path(
    post,
    path = "/v1/files",
    operation_id = "uploadFile",
    tag = "Files",
    security(("token" = [])),
    params(UploadRequest),
    request_body(
        description = "The file. `Content-Type: image/jpeg` for MMS, that of the file for MAIL.",
        content(
            (Vec<u8> = "image/jpeg"),
            (Vec<u8> = "application/octet-stream"),
        ),
    ),
    responses(
        (status = 201, description = "Taken", body = UploadAnswer),
        (status = 400, description = "E001", body = ErrorBody),
        (status = 401, description = "E002", body = ErrorBody),
        (status = 403, description = "E008", body = ErrorBody),
        (status = 404, description = "E007", body = ErrorBody),
        (status = 408, description = "E001: the body did not arrive in time", body = ErrorBody),
        (status = 413, description = "E001: the file is too large", body = ErrorBody),
        (status = 415, description = "E001: not a type this purpose takes", body = ErrorBody),
        (status = 429, description = "E003: rate, or the space for your files", body = ErrorBody),
        (status = 500, description = "E100", body = ErrorBody),
        (status = 501, description = "E100: no files are taken here", body = ErrorBody),
        (status = 503, description = "E100, E102", body = ErrorBody),
    ),
)]
pub(crate) async fn upload(
    State(receiver): State<Arc<Shared>>,
    Caller(member): Caller,
    QueryParams(wanted): QueryParams<UploadRequest>,
    request: Request,
) -> Result<(StatusCode, Json<UploadAnswer>), ApiError> {
    if !receiver.node.files.is_there() {
        return Err(ApiError::new(ErrorReason::FilesNotOffered));
    }
    let purpose = check_purpose(&wanted.purpose)?;
    let name = wanted.name.map(check_name).transpose()?;
    let media_type = check_media_type(purpose, request.headers())?;
    take_room(&receiver, &member.partner, 1).await?;
    let _turn = receiver.uploads.take(&member.partner.id).await?;
    let bytes = read(&receiver, purpose, request).await?;
    let pixels = match purpose {
        FilePurpose::Mms => Some(check_picture(&bytes)?),
        FilePurpose::Mail => None,
    };
    check_space(&receiver, &member.partner, bytes.len()).await?;

    let (id, now) = (
        receiver.node.instance.ids().file(),
        receiver.node.clock.now(),
    );
    let file = StoredFile {
        id,
        partner: member.partner.id.clone(),
        sha256: FileDigest::of(&bytes),
        bytes: bytes.len() as u64,
        media_type,
        pixels,
        purpose,
        sealed_name: name.map(|name| receiver.lookups.seal_name(id, &name)),
        created_at: now,
        expires_at: now.plus(receiver.config.file_lifetime),
    };
    keep(&receiver, &file, &bytes).await?;
    let answer = UploadAnswer {
        code: Code::Success,
        file_id: id.to_string(),
        sha256: file.sha256.to_string(),
        bytes: bytes.len(),
        width: pixels.map(|(width, _)| width),
        height: pixels.map(|(_, height)| height),
        expires_at: file.expires_at.to_rfc3339(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn check_purpose(name: &str) -> Result<FilePurpose, ApiError> {
    FilePurpose::parse(name).ok_or_else(|| {
        let names = FilePurpose::ALL.map(FilePurpose::name).join(", ");
        invalid(Detail::new("purpose", "oneOf").expected(names))
    })
}

fn check_name(name: String) -> Result<String, ApiError> {
    let length = name.chars().count();
    let is_path = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if length > LONGEST_NAME {
        let detail = Detail::new("name", "maxLength").limit(LONGEST_NAME as u64);
        return Err(invalid(detail.actual(length as u64).unit("CHARACTER")));
    }
    if name.trim().is_empty() || name.contains(is_path) {
        let expected = "a name without folders, on one line";
        return Err(invalid(Detail::new("name", "format").expected(expected)));
    }
    Ok(name)
}

fn check_media_type(purpose: FilePurpose, headers: &HeaderMap) -> Result<String, ApiError> {
    let refused = |field: &'static str, expected: &'static str| {
        ApiError::new(ErrorReason::UnsupportedMediaType)
            .detail(Detail::new(field, "oneOf").expected(expected))
    };
    let coding = headers.get(CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        return Err(refused("Content-Encoding", "identity"));
    }
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str());
    let given = given.unwrap_or(Ok(ANY_BYTES)).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    match purpose {
        FilePurpose::Mms if essence.eq_ignore_ascii_case(JPEG) => Ok(JPEG.to_owned()),
        FilePurpose::Mms => Err(refused("Content-Type", JPEG)),
        FilePurpose::Mail if given.len() <= LONGEST_MEDIA_TYPE && is_media_type(essence) => {
            Ok(given.to_owned())
        }
        FilePurpose::Mail => Err(refused(
            "Content-Type",
            "a media type such as application/pdf",
        )),
    }
}

/// Type and subtype (RFC 6838, 4.2).
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

async fn read(
    receiver: &Shared,
    purpose: FilePurpose,
    mut request: Request,
) -> Result<Bytes, ApiError> {
    request.extensions_mut().insert(BodyLimits {
        max_bytes: match purpose {
            FilePurpose::Mms => LARGEST_PICTURE,
            FilePurpose::Mail => LARGEST_FILE,
        },
        deadline: receiver.config.file_deadline,
    });
    let BoundedBody(bytes) = BoundedBody::from_request(request, &()).await?;
    if bytes.is_empty() {
        let detail = Detail::new("body", "minBytes").limit(1).actual(0);
        return Err(invalid(detail.unit("BYTE")));
    }
    Ok(bytes)
}

fn check_picture(bytes: &[u8]) -> Result<(u16, u16), ApiError> {
    let refused = |detail: Detail| ApiError::new(ErrorReason::InvalidImage).detail(detail);
    let (width, height) = jpeg::pixels(bytes).map_err(|error| {
        refused(Detail::new("body", "format").expected(match error {
            NotAPicture::Unreadable => "a JPEG picture",
            NotAPicture::Unusual => "a baseline or progressive JPEG picture",
        }))
    })?;
    for (rule, pixels) in [("maxWidth", width), ("maxHeight", height)] {
        if pixels > MOST_PIXELS {
            let detail = Detail::new("body", rule).limit(u64::from(MOST_PIXELS));
            return Err(refused(detail.actual(u64::from(pixels)).unit("PIXEL")));
        }
    }
    Ok((width, height))
}

/// Uploads at the same moment do not see each other, so a partner may have a few files more.
async fn check_space(receiver: &Shared, partner: &Partner, bytes: usize) -> Result<(), ApiError> {
    let taken = receiver.node.ledger.file_bytes(&partner.id);
    let taken = in_time(LEDGER_LIMIT, taken).await;
    let taken = taken.map_err(ApiError::ledger_unavailable)?;
    let (wanted, limit) = (
        taken.saturating_add(bytes as u64),
        receiver.config.file_space,
    );
    if wanted <= limit {
        return Ok(());
    }
    let detail = Detail::new("body", "maxSpace").limit(limit).actual(wanted);
    Err(ApiError::new(ErrorReason::FileSpaceFull)
        .detail(detail.unit("BYTE"))
        .retry_after(SPACE_AGAIN))
}

/// The row comes first: bytes without a row would stay for ever.
async fn keep(receiver: &Shared, file: &StoredFile, bytes: &[u8]) -> Result<(), ApiError> {
    let kept = in_time(LEDGER_LIMIT, receiver.node.ledger.keep_file(file)).await;
    kept.map_err(ApiError::ledger_unavailable)?;
    let put = receiver.node.files.put(file.id, bytes).await;
    put.map_err(|error: FileError| {
        ApiError::new(ErrorReason::FileStoreUnavailable).caused_by(error)
    })
}

fn invalid(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::InvalidValue).detail(detail)
}

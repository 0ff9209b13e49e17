//! The files and templates that requests refer to, read from the ledger and believed for a while.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use pabal_common::clock::Timestamp;
use pabal_common::crypto::{FilePart, Sealer};
use pabal_common::deadline::in_time;
use pabal_common::domain::file::FileRef;
use pabal_common::domain::id::{FileId, PartnerId};
use pabal_common::domain::template::{RegisteredTemplate, TemplateKey};
use pabal_common::http::ApiError;
use pabal_common::ledger::{SharedLedger, StoredFile};

use crate::config::TemplatePolicy;
use crate::message::{Draft, Known, KnownFile, MessageRequest, Reference, references};
use crate::receiver::LEDGER_LIMIT;

/// A change of a template is obeyed everywhere within this time.
const TEMPLATES_BELIEVED: Duration = Duration::from_secs(2);
/// Of a file only its expiry ever changes, and that only to later.
const FILES_BELIEVED: Duration = Duration::from_secs(60);
const MOST: u64 = 10_000;
/// A file is kept for so much longer than the message needs it, so that one that goes with many messages
/// is not held again for each of them.
const HELD_LONGER: Duration = Duration::from_secs(86_400);

/// Looks up what requests refer to. What many refer to is asked for once.
pub(crate) struct Lookups {
    ledger: SharedLedger,
    sealer: Sealer,
    policy: TemplatePolicy,
    files: Cache<FileId, Arc<KnownFile>>,
    templates: Cache<(PartnerId, TemplateKey), Option<Arc<RegisteredTemplate>>>,
}

impl Lookups {
    pub(crate) fn new(ledger: SharedLedger, sealer: Sealer, policy: TemplatePolicy) -> Self {
        Self {
            ledger,
            sealer,
            policy,
            files: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(FILES_BELIEVED)
                .build(),
            templates: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(TEMPLATES_BELIEVED)
                .build(),
        }
    }

    /// A file's name as the ledger keeps it.
    pub(crate) fn seal_name(&self, file: FileId, name: &str) -> Vec<u8> {
        self.sealer.seal_file(file, FilePart::Name, name.as_bytes())
    }

    /// What these requests of a partner refer to, as far as it is there.
    ///
    /// # Errors
    /// E102.
    pub(crate) async fn known<'r>(
        &self,
        partner: &PartnerId,
        requests: impl Iterator<Item = &'r MessageRequest>,
        now: Timestamp,
    ) -> Result<Known, ApiError> {
        let (mut files, mut templates) = (BTreeSet::new(), BTreeSet::new());
        for reference in requests.flat_map(references) {
            match reference {
                Reference::File(id) => files.insert(id),
                Reference::Template(key) => templates.insert(key),
            };
        }
        let files = self.files(files).await?;
        let is_theirs = |file: &Arc<KnownFile>| file.partner == *partner && file.expires_at > now;
        Ok(Known {
            files: files
                .into_iter()
                .filter(is_theirs)
                .map(|file| (file.reference.id, file))
                .collect(),
            templates: self.templates(partner, templates).await?,
            templates_required: self.policy == TemplatePolicy::Required,
        })
    }

    /// Sees to it that the files of these drafts are there as long as the messages may need them. A message
    /// that is refused after this leaves its files to be kept longer than needed.
    ///
    /// # Errors
    /// E102; nothing may be accepted then.
    pub(crate) async fn hold(
        &self,
        drafts: &[Draft],
        known: &Known,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let mut until = now;
        let mut short = BTreeSet::new();
        for draft in drafts {
            let needed = draft.files_needed_until(now);
            let files = draft.files().filter_map(|id| known.files.get(&id));
            for file in files.filter(|file| file.expires_at < needed) {
                short.insert(file.reference.id);
                until = until.max(needed);
            }
        }
        if short.is_empty() {
            return Ok(());
        }
        let short: Vec<FileId> = short.into_iter().collect();
        let held = self.ledger.hold_files(&short, until.plus(HELD_LONGER));
        in_time(LEDGER_LIMIT, held)
            .await
            .map_err(ApiError::ledger_unavailable)?;
        for id in &short {
            self.files.invalidate(id).await;
        }
        Ok(())
    }

    async fn files(&self, ids: BTreeSet<FileId>) -> Result<Vec<Arc<KnownFile>>, ApiError> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for id in ids {
            match self.files.get(&id).await {
                Some(file) => found.push(file),
                None => unknown.push(id),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let stored = in_time(LEDGER_LIMIT, self.ledger.files(&unknown)).await;
        for file in stored.map_err(ApiError::ledger_unavailable)? {
            let file = Arc::new(self.known_file(file)?);
            self.files
                .insert(file.reference.id, Arc::clone(&file))
                .await;
            found.push(file);
        }
        Ok(found)
    }

    fn known_file(&self, file: StoredFile) -> Result<KnownFile, ApiError> {
        let open = |sealed: Vec<u8>| {
            let name = self.sealer.open_file(file.id, FilePart::Name, &sealed);
            let name = name.map_err(ApiError::internal)?;
            String::from_utf8(name).map_err(ApiError::internal)
        };
        Ok(KnownFile {
            partner: file.partner,
            purpose: file.purpose,
            reference: FileRef {
                id: file.id,
                sha256: file.sha256,
                media_type: file.media_type,
                bytes: file.bytes,
                name: file.sealed_name.map(open).transpose()?,
            },
            expires_at: file.expires_at,
        })
    }

    async fn templates(
        &self,
        partner: &PartnerId,
        keys: BTreeSet<TemplateKey>,
    ) -> Result<HashMap<TemplateKey, Arc<RegisteredTemplate>>, ApiError> {
        let (mut found, mut unknown) = (HashMap::new(), Vec::new());
        for key in keys {
            let remembered = self.templates.get(&(partner.clone(), key.clone())).await;
            match remembered {
                Some(Some(template)) => {
                    found.insert(key, template);
                }
                Some(None) => {}
                None => unknown.push(key),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let read = in_time(LEDGER_LIMIT, self.ledger.templates(partner, &unknown)).await;
        for kept in read.map_err(ApiError::ledger_unavailable)? {
            let template = Arc::new(kept.template);
            found.insert(template.key.clone(), template);
        }
        for key in unknown {
            // That there is none is remembered too.
            let template = found.get(&key).cloned();
            let key = (partner.clone(), key);
            self.templates.insert(key, template).await;
        }
        Ok(found)
    }
}

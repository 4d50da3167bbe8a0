//! E-mails as files, for development. The name of a file begins with the customer number, so that
//! an erasure finds it.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use mail_parser::MessageParser;
use uuid::Uuid;

use crate::domain::ids::CustomerNumber;

/// The endings of e-mails, and of those that are being written.
const ENDINGS: [&str; 2] = [".eml", ".part"];

/// A directory of files named `<customer number>_<mail id>.eml`.
#[derive(Clone, Debug)]
pub struct MailFolder(Arc<Path>);

/// An e-mail that was written to the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMail {
    /// The address of the recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: String,
}

impl StoredMail {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let message = MessageParser::default().parse(bytes)?;
        Some(Self {
            to: message.to()?.first()?.address()?.to_owned(),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0)?.into_owned(),
        })
    }

    /// Returns the first link of the text.
    pub fn link(&self) -> Option<&str> {
        let mut words = self.text.split_whitespace();
        words.find(|word| word.starts_with("http://") || word.starts_with("https://"))
    }
}

impl MailFolder {
    /// Creates a handle on the directory, which is created with the first e-mail.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into().into())
    }

    /// Writes an e-mail, and replaces an older one with the same id.
    pub(super) async fn write(
        &self,
        number: &CustomerNumber,
        id: Uuid,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        let (folder, name) = (Arc::clone(&self.0), file_name(number, id));
        blocking(move || write(&folder, &name, &bytes)).await
    }

    /// Reads all e-mails, oldest first.
    ///
    /// # Errors
    /// The error of the file system.
    pub async fn mails(&self) -> io::Result<Vec<StoredMail>> {
        let folder = Arc::clone(&self.0);
        blocking(move || {
            let mut mails = Vec::new();
            for (path, _) in files(&folder)? {
                if path.extension().is_some_and(|ending| ending == "eml") {
                    let written = path.metadata()?.modified()?;
                    mails.push((written, path.clone(), StoredMail::parse(&fs::read(&path)?)));
                }
            }
            mails.sort_by(|(time, path, _), other| (time, path).cmp(&(&other.0, &other.1)));
            Ok(mails.into_iter().filter_map(|(_, _, mail)| mail).collect())
        })
        .await
    }

    /// Deletes an e-mail.
    pub(super) async fn delete(&self, number: &CustomerNumber, id: Uuid) -> io::Result<()> {
        let file = self.0.join(format!("{}.eml", file_name(number, id)));
        blocking(move || delete(&file)).await
    }

    /// Deletes all e-mails of a customer.
    ///
    /// # Errors
    /// The error of the file system.
    pub async fn delete_mails_of(&self, number: &CustomerNumber) -> io::Result<()> {
        let (folder, number) = (Arc::clone(&self.0), number.clone());
        blocking(move || {
            for (path, owner) in files(&folder)? {
                if owner == number {
                    delete(&path)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Returns the customers of all e-mails.
    ///
    /// # Errors
    /// The error of the file system.
    pub async fn customers(&self) -> io::Result<BTreeSet<CustomerNumber>> {
        let folder = Arc::clone(&self.0);
        blocking(move || {
            Ok(files(&folder)?
                .into_iter()
                .map(|(_, owner)| owner)
                .collect())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// A customer number has no underscore.
fn file_name(number: &CustomerNumber, id: Uuid) -> String {
    format!("{}_{id}", number.as_str())
}

/// Lists the files of all customers, including those that are being written.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, CustomerNumber)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| customer_in(name.to_str()?));
        files.extend(number.map(|number| (path, number)));
    }
    Ok(files)
}

/// Returns the customer of a file name, if it is the name of an e-mail.
fn customer_in(name: &str) -> Option<CustomerNumber> {
    let (number, rest) = name.split_once('_')?;
    let id = ENDINGS
        .iter()
        .find_map(|ending| rest.strip_suffix(ending))?;
    Uuid::try_parse(id).ok()?;
    CustomerNumber::parse(number).ok()
}

fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // The file was renamed after it was written, or deleted by another task.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

/// Writes to a temporary name first, so that no reader sees an incomplete e-mail.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let unfinished = folder.join(format!("{name}.part"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, folder.join(format!("{name}.eml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> CustomerNumber {
        CustomerNumber::parse(text).unwrap()
    }

    #[tokio::test]
    async fn file_is_complete_and_readable_by_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data/mail");
        let (folder, id) = (MailFolder::new(&path), Uuid::from_u128(1));
        for content in ["one", "two"] {
            let bytes = content.as_bytes().to_vec();
            folder.write(&number("K-1"), id, bytes).await.unwrap();
            let file = path.join(format!("K-1_{id}.eml"));
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn only_the_mails_of_one_customer_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let folder = MailFolder::new(root.path().join("mail"));
        assert!(folder.customers().await.unwrap().is_empty());
        folder.delete_mails_of(&number("K-1")).await.unwrap();
        for text in ["K-1", "K-10", "k-1"] {
            for id in 0..2 {
                let id = Uuid::from_u128(id);
                folder.write(&number(text), id, Vec::new()).await.unwrap();
            }
        }
        let unfinished = root.path().join(format!("mail/K-1_{}.part", Uuid::nil()));
        fs::write(&unfinished, "").unwrap();
        // Other files are not e-mails.
        let others = ["notes.txt", "K-1_notes.txt", "K-1_3.eml"];
        for name in others {
            fs::write(root.path().join("mail").join(name), "").unwrap();
        }
        folder.delete_mails_of(&number("K-1")).await.unwrap();
        let left = [number("K-10"), number("k-1")];
        assert!(folder.customers().await.unwrap().iter().eq(&left));
        assert!(!unfinished.exists());
        let left = fs::read_dir(root.path().join("mail")).unwrap().count();
        assert_eq!(left, 4 + others.len());
    }
}

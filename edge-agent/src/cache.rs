//! Shared blobs (tasks, normalisers, transfer sets, teachers, releases) on
//! the device's disk: resumable, checked against their names, bounded.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::ids::BlobHash;
use common::ownership::NO_LINK;

/// Why the cache cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The blob is not in the cache.
    #[error("blob {0} is not in the cache")]
    Missing(BlobHash),
    /// The bytes are not the blob's; they were removed.
    #[error("blob {expected}: its bytes hash to {got}")]
    Damaged {
        /// The blob's name.
        expected: BlobHash,
        /// The hash of what was there.
        got: BlobHash,
    },
}

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Models of tasks, which make room for nothing.
    models: PathBuf,
    bytes_max: u64,
}

/// A blob that is being fetched. What was written stays for the next try.
#[derive(Debug)]
pub struct Partial {
    blob: BlobHash,
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Cache {
    /// The cache in `folder`, made if it is missing, of at most `bytes_max`
    /// bytes besides those a caller protects.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
            models: folder.with_file_name(MODELS),
            bytes_max,
        })
    }

    /// The blobs that are complete.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn blobs(&self) -> Result<BTreeSet<BlobHash>, CacheError> {
        let files = self.files()?.into_iter().chain(self.models()?);
        Ok(files.filter_map(|file| file.blob).collect())
    }

    /// A blob's bytes, checked against its name.
    ///
    /// # Errors
    /// [`CacheError::Missing`]; [`CacheError::Damaged`], and then the file is
    /// gone.
    pub fn read(&self, blob: BlobHash) -> Result<Vec<u8>, CacheError> {
        for path in [self.path(blob), self.model(blob)] {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(failed(&path, source)),
            };
            check(blob, BlobHash::of(&bytes), &path)?;
            return Ok(bytes);
        }
        Err(CacheError::Missing(blob))
    }

    /// Keeps a complete blob until [`Self::keep_only`] does not name it: a model, which
    /// a task needs for as long as there is the task. One copy, whatever the tasks.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn keep(&self, blob: BlobHash) -> Result<(), CacheError> {
        let made = fs::create_dir_all(&self.models);
        let kept = made.and_then(|()| fs::rename(self.path(blob), self.model(blob)));
        match kept {
            // It is kept already, or was never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| failed(&self.model(blob), source)),
        }
    }

    /// Removes the kept blobs that are not among these.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn keep_only(&self, needed: &BTreeSet<BlobHash>) -> Result<(), CacheError> {
        for file in self.models()? {
            if file.blob.is_none_or(|blob| !needed.contains(&blob)) {
                fs::remove_file(&file.path).map_err(|source| failed(&file.path, source))?;
            }
        }
        Ok(())
    }

    /// Begins or continues to fetch a blob.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn begin(&self, blob: BlobHash) -> Result<Partial, CacheError> {
        let path = self.folder.join(format!("{blob}.part"));
        let open = || -> io::Result<(File, u64)> {
            let mut options = OpenOptions::new();
            options.create(true).append(true).custom_flags(NO_LINK);
            let file = options.open(&path)?;
            let bytes = file.metadata()?.len();
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|source| failed(&path, source))?;
        Ok(Partial {
            blob,
            path,
            file,
            bytes,
        })
    }

    /// Takes a fetched blob in, once its bytes are shown to be its own.
    /// Cost: one pass of BLAKE3 in small pieces.
    ///
    /// # Errors
    /// [`CacheError::Damaged`], and then its bytes are gone.
    pub fn complete(&self, partial: Partial) -> Result<(), CacheError> {
        let mut hasher = blake3::Hasher::new();
        let hashed =
            File::open(&partial.path).and_then(|mut file| io::copy(&mut file, &mut hasher));
        hashed.map_err(|source| failed(&partial.path, source))?;
        let got = BlobHash(*hasher.finalize().as_bytes());
        check(partial.blob, got, &partial.path)?;
        let path = self.path(partial.blob);
        let kept = partial
            .file
            .sync_all()
            .and_then(|()| fs::rename(&partial.path, &path));
        kept.map_err(|source| failed(&path, source))
    }

    /// Removes the oldest files until the rest fits, but none that is
    /// protected. Returns the complete blobs that are gone.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub fn evict(&self, protected: &BTreeSet<BlobHash>) -> Result<Vec<BlobHash>, CacheError> {
        let mut files = self.files()?;
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.modified);
        let mut gone = Vec::new();
        for file in files {
            if total <= self.bytes_max {
                break;
            }
            if file.blob.is_some_and(|blob| protected.contains(&blob)) {
                continue;
            }
            fs::remove_file(&file.path).map_err(|source| failed(&file.path, source))?;
            total -= file.bytes;
            gone.extend(file.blob);
        }
        Ok(gone)
    }

    fn path(&self, blob: BlobHash) -> PathBuf {
        self.folder.join(blob.to_string())
    }

    fn model(&self, blob: BlobHash) -> PathBuf {
        self.models.join(blob.to_string())
    }

    fn models(&self) -> Result<Vec<CachedFile>, CacheError> {
        match self.models.exists() {
            true => files_of(&self.models),
            false => Ok(Vec::new()),
        }
    }

    fn files(&self) -> Result<Vec<CachedFile>, CacheError> {
        files_of(&self.folder)
    }
}

fn files_of(folder: &Path) -> Result<Vec<CachedFile>, CacheError> {
    let entries = fs::read_dir(folder).map_err(|source| failed(folder, source))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed(folder, source))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(|source| failed(&path, source))?;
        files.push(CachedFile {
            blob: entry.file_name().to_str().and_then(|n| n.parse().ok()),
            bytes: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path,
        });
    }
    Ok(files)
}

impl Partial {
    /// Bytes at hand.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes to those at hand.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Forgets the bytes at hand: they are more than the blob has.
    ///
    /// # Errors
    /// What the system says.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }
}

struct CachedFile {
    path: PathBuf,
    blob: Option<BlobHash>,
    bytes: u64,
    modified: SystemTime,
}

fn check(expected: BlobHash, got: BlobHash, path: &Path) -> Result<(), CacheError> {
    if got == expected {
        return Ok(());
    }
    fs::remove_file(path).map_err(|source| failed(path, source))?;
    Err(CacheError::Damaged { expected, got })
}

fn failed(path: &Path, source: io::Error) -> CacheError {
    CacheError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The cache's folder in the state directory.
pub const FOLDER: &str = "cache";
/// The folder beside it that keeps models of tasks.
pub const MODELS: &str = "models";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cache(bytes_max: u64) -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache"), bytes_max).unwrap();
        (folder, cache)
    }

    fn keep(cache: &Cache, bytes: &[u8]) -> BlobHash {
        let blob = BlobHash::of(bytes);
        let mut partial = cache.begin(blob).unwrap();
        partial.append(bytes).unwrap();
        cache.complete(partial).unwrap();
        blob
    }

    #[test]
    fn a_fetch_goes_on_where_it_stopped() {
        let (_folder, cache) = cache(1_000);
        let blob = BlobHash::of(b"hello world");
        cache.begin(blob).unwrap().append(b"hello ").unwrap();
        assert_eq!(cache.blobs().unwrap(), BTreeSet::new());
        let mut partial = cache.begin(blob).unwrap();
        assert_eq!(partial.bytes(), 6);
        partial.append(b"world").unwrap();
        cache.complete(partial).unwrap();
        assert_eq!(cache.read(blob).unwrap(), b"hello world");
        assert_eq!(cache.blobs().unwrap(), BTreeSet::from([blob]));
    }

    #[test]
    fn bytes_that_are_not_the_blobs_are_removed() {
        let (_folder, cache) = cache(1_000);
        let blob = BlobHash::of(b"right");
        let mut partial = cache.begin(blob).unwrap();
        partial.append(b"wrong").unwrap();
        let refused = cache.complete(partial);
        assert!(matches!(refused, Err(CacheError::Damaged { .. })));
        assert_eq!(cache.begin(blob).unwrap().bytes(), 0);
        assert!(matches!(cache.read(blob), Err(CacheError::Missing(_))));
    }

    #[test]
    fn damage_on_the_disk_is_found_when_a_blob_is_read() {
        let (_folder, cache) = cache(1_000);
        let blob = keep(&cache, b"sound");
        fs::write(cache.path(blob), b"rotten").unwrap();
        assert!(matches!(cache.read(blob), Err(CacheError::Damaged { .. })));
        assert_eq!(cache.blobs().unwrap(), BTreeSet::new());
    }

    #[test]
    fn a_kept_blob_makes_no_room_and_goes_when_it_is_not_named() {
        let (_folder, cache) = cache(10);
        let (model, other) = (keep(&cache, &[7; 30]), keep(&cache, b"aaaa"));
        cache.keep(model).unwrap();
        cache.keep(model).unwrap();
        assert_eq!(cache.evict(&BTreeSet::new()).unwrap(), []);
        assert_eq!(cache.blobs().unwrap(), BTreeSet::from([model, other]));
        assert_eq!(cache.read(model).unwrap(), [7; 30]);
        cache.keep_only(&BTreeSet::from([model])).unwrap();
        assert_eq!(cache.read(model).unwrap(), [7; 30]);
        fs::write(cache.model(model), b"short").unwrap();
        assert!(matches!(cache.read(model), Err(CacheError::Damaged { .. })));
        assert!(matches!(cache.read(model), Err(CacheError::Missing(_))));
        let again = keep(&cache, &[7; 30]);
        cache.keep(again).unwrap();
        cache.keep_only(&BTreeSet::new()).unwrap();
        assert_eq!(cache.blobs().unwrap(), BTreeSet::from([other]));
    }

    #[test]
    fn the_oldest_unprotected_blobs_make_room() {
        let (_folder, cache) = cache(10);
        let blobs: Vec<_> = [b"aaaa", b"bbbb", b"cccc", b"dddd"]
            .iter()
            .enumerate()
            .map(|(at, bytes)| {
                let blob = keep(&cache, *bytes);
                let file = File::options().write(true).open(cache.path(blob)).unwrap();
                let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at as u64);
                file.set_modified(time).unwrap();
                blob
            })
            .collect();
        let gone = cache.evict(&BTreeSet::from([blobs[0]])).unwrap();
        assert_eq!(gone, [blobs[1], blobs[2]]);
        assert_eq!(cache.blobs().unwrap(), BTreeSet::from([blobs[0], blobs[3]]));
    }
}

//! The store as the running server holds it: reached from blocking threads,
//! and opened again after a failure that stopped it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use common::ids::BlobHash;

use crate::journal::{self, Compaction, CompactionError, Done, Pin, Pins, Step};
use crate::status::StoreStatus;
use crate::store::{Epoch, PartialKey, Position, Result, Store, StoreError, Usage};

/// A base, a blob, and what leads from one to the other, if that is smaller.
type Delta = (BlobHash, BlobHash, Option<Arc<Vec<u8>>>);

/// Opens the store. Called again after a failure, when nothing of the
/// earlier one is held any more.
pub type OpenStore = Box<dyn Fn() -> Result<Arc<dyn Store>> + Send + Sync>;

/// The place of a store.
#[derive(Default)]
struct Slot {
    /// None while it is opened again, and after that failed.
    store: Option<Arc<dyn Store>>,
    /// Calls to it that have not returned.
    calls: usize,
}

/// A call that is under way.
struct Call<'a>(&'a StoreHandle);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.slot().calls -= 1;
        self.0.quiet.notify_all();
    }
}

/// The store, or the place where it was.
pub struct StoreHandle {
    open: OpenStore,
    slot: Mutex<Slot>,
    /// Told when the last call to a store that is to be closed has returned.
    quiet: Condvar,
    /// Blobs that are being sent: many devices fetch the same one at once.
    shared: Mutex<BTreeMap<BlobHash, Weak<Vec<u8>>>>,
    /// The newest delta by base and blob; none if it is not smaller.
    delta: Mutex<Option<Delta>>,
    pins: Arc<Pins>,
    /// Held by anyone who copies the store, which must lose nothing meanwhile,
    /// and by its compaction.
    pub(crate) still: tokio::sync::Mutex<()>,
    /// Held by anyone who deletes what nothing needs.
    sweeping: Mutex<()>,
    usage: Mutex<Option<Usage>>,
}

impl StoreHandle {
    /// Opens the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(open: OpenStore) -> Result<Self> {
        let store = open()?;
        Ok(Self {
            open,
            slot: Mutex::new(Slot {
                store: Some(store),
                calls: 0,
            }),
            quiet: Condvar::new(),
            shared: Mutex::default(),
            delta: Mutex::default(),
            pins: Pins::new(),
            still: tokio::sync::Mutex::default(),
            sweeping: Mutex::default(),
            usage: Mutex::default(),
        })
    }

    /// Keeps a blob, which no sweep takes before the pin is dropped: once the
    /// event that names it is durable, or will never be.
    ///
    /// # Errors
    /// Those of [`Store::put_blob`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<(BlobHash, Pin)> {
        let pin = self.pins.pin(BlobHash::of(bytes));
        let hash = self.with(|store| store.put_blob(bytes))?;
        Ok((hash, pin))
    }

    /// Makes an upload a blob, pinned as by [`Self::put_blob`].
    ///
    /// # Errors
    /// Those of [`Store::finish_partial`].
    pub fn finish_partial(&self, key: PartialKey) -> Result<Pin> {
        let pin = self.pins.pin(key.hash);
        self.with(|store| store.finish_partial(key))?;
        Ok(pin)
    }

    /// Runs an compaction to its end, the store let go of between its steps.
    ///
    /// # Errors
    /// Those of the compaction.
    pub fn keep(&self, mut compaction: Compaction) -> std::result::Result<Done, CompactionError> {
        let _alone = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let done = loop {
            let step = self.with(|store| Ok(compaction.step(store, &self.pins)))?;
            if let Step::Done(done) = step? {
                break done;
            }
        };
        self.measure();
        Ok(done)
    }

    /// Looks how much room the store takes.
    pub fn measure(&self) {
        let usage = self.with(|store| store.usage());
        if let Err(error) = &usage {
            tracing::warn!(%error, "how much room the store takes is not known");
        }
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = usage.ok();
    }

    /// The log, and how much room all takes; none if the store cannot say.
    pub(crate) fn status(&self) -> Option<StoreStatus> {
        let told = self.with(|store| {
            let (first, next) = (store.first()?, store.head()?.next);
            Ok((first, next, journal::newest_position(store)?))
        });
        let (first, next, snapshot) = told.ok()?;
        let usage = self.usage();
        Some(StoreStatus {
            first: first.0,
            next: next.0,
            snapshot: snapshot.map(|at| at.0),
            log_bytes: usage.map(|usage| usage.log_bytes),
            blob_bytes: usage.map(|usage| usage.blob_bytes),
            blobs: usage.map(|usage| usage.blobs),
            bytes: usage.map(|usage| usage.bytes()),
        })
    }

    /// How much room the store took when that was last looked at.
    pub fn usage(&self) -> Option<Usage> {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes calls to the store. Blocks as long as the store does.
    ///
    /// # Errors
    /// Those of the call; [`StoreError::Stopped`] while there is no store.
    pub fn with<T>(&self, call: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        let mut slot = self.slot();
        let Some(store) = slot.store.clone() else {
            return Err(StoreError::Stopped {
                reason: "the store could not be opened again".to_owned(),
            });
        };
        slot.calls += 1;
        drop(slot);
        // Made before, so dropped after: the store is not held any more when
        // the call counts as returned.
        let _counted = Call(self);
        let store = store;
        call(store.as_ref())
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends in as many batches as the store needs. If one fails, the
    /// earlier ones may stand; anyone who replays sees which.
    ///
    /// # Errors
    /// Those of [`Store::append`].
    pub fn append(&self, epoch: Epoch, at: Position, events: &[Vec<u8>]) -> Result<Position> {
        self.with(|store| {
            events
                .chunks(crate::store::BATCH_EVENTS_MAX)
                .try_fold(at, |at, batch| store.append(epoch, Some(at), batch))
        })
    }

    /// Closes the store and opens it again, in a new epoch.
    ///
    /// # Errors
    /// Those of the store; then there is none until the next call succeeds.
    pub fn reopen(&self) -> Result<Epoch> {
        let mut slot = self.slot();
        // The old store holds the lock on its directory until it is dropped.
        // Whoever calls meanwhile is refused and waits for nothing: opening
        // takes as long as a database takes that does not answer.
        let old = slot.store.take();
        while slot.calls > 0 {
            slot = self
                .quiet
                .wait(slot)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(slot);
        drop(old);
        let store = (self.open)()?;
        let epoch = store.open_epoch()?;
        self.slot().store = Some(store);
        Ok(epoch)
    }

    /// A blob, if it can be read; why it cannot is logged.
    pub fn read(&self, hash: BlobHash) -> Option<Vec<u8>> {
        match self.with(|store| store.blob(hash)) {
            Ok(blob) => blob,
            Err(error) => {
                tracing::error!(blob = %hash.short(), %error, "a blob cannot be read");
                None
            }
        }
    }

    /// A blob, in memory once however many read it at the same time.
    ///
    /// # Errors
    /// Those of [`Store::blob`].
    pub fn shared(&self, hash: BlobHash) -> Result<Option<Arc<Vec<u8>>>> {
        let known = || self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = known().get(&hash).and_then(Weak::upgrade) {
            return Ok(Some(blob));
        }
        let Some(bytes) = self.with(|store| store.blob(hash))? else {
            return Ok(None);
        };
        let blob = Arc::new(bytes);
        let mut shared = known();
        shared.retain(|_, blob| blob.strong_count() > 0);
        shared.insert(hash, Arc::downgrade(&blob));
        Ok(Some(blob))
    }
}

impl StoreHandle {
    /// What leads from one blob to another; none if one of them is not there
    /// or it would not be smaller by a tenth. The newest is kept, for many
    /// devices ask for the same.
    ///
    /// # Errors
    /// Those of [`Store::blob`].
    pub fn delta(&self, base: BlobHash, blob: BlobHash) -> Result<Option<Arc<Vec<u8>>>> {
        let mut newest = self.delta.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, to, delta)) = &*newest
            && (*from, *to) == (base, blob)
        {
            return Ok(delta.clone());
        }
        let (Some(old), Some(new)) = (self.shared(base)?, self.shared(blob)?) else {
            return Ok(None);
        };
        let delta = common::delta::encode(&old, &new);
        let delta = (10 * delta.len() < 9 * new.len()).then(|| Arc::new(delta));
        *newest = Some((base, blob, delta.clone()));
        Ok(delta)
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreHandle")
    }
}

/// Runs a call to the store on a blocking thread.
///
/// # Errors
/// Those of the call. A panic in it is a bug and becomes
/// [`StoreError::Stopped`].
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StoreError::Stopped {
            reason: format!("a call to the store did not return: {error}"),
        }),
    }
}

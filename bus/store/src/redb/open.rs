//! Making a store and opening one: only what was asked for, and nothing else is touched.
//!
//! A store is two files in a folder: `edgebus.redb` and `edgebus.id`, which names the store's id, so
//! that a wrong mount, a swapped file or an empty folder is noticed. Making goes: the id file (it
//! must not exist, which also keeps two makers apart), the database under another name, flushed,
//! given its name, folder flushed. Never here: making where opening was asked, or the reverse.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::TryRng;
use rand::rngs::SysRng;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, StorageBackend, StorageError,
};

use super::catalog::{self, Identity, MADE_FORMAT};
use super::device::Device;
use super::tables::{ReadTx, Tables, engine};
use super::{BALLAST_FILE, Opened, RedbStore, Settings};
use crate::{Error, Kind};
use edgebus_model::{Code, Progress};

/// The database's name in the folder.
pub(super) const FILE: &str = "edgebus.redb";
/// Its name until it is whole.
const MAKING: &str = "edgebus.redb.making";
/// The name of the file with the store's id.
pub(super) const ID_FILE: &str = "edgebus.id";
/// What every redb file begins with.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
const ID_HEAD: &str = "edgebus store id 1: ";

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Refused, message)
}

pub(super) fn at<'p>(
    path: &'p Path,
    doing: &'static str,
) -> impl FnOnce(std::io::Error) -> Error + 'p {
    move |error| refused(format!("can't {doing} {}: {error}", path.display()))
}

impl RedbStore {
    /// Makes a new store in `folder`, which may be missing, and opens it.
    ///
    /// # Errors
    /// [`Kind::Refused`] if a store or a part of one is there already (it is not touched), or if
    /// the folder can't be written.
    pub fn create(folder: &Path, settings: Settings) -> Result<Self, Error> {
        let (file, id_file) = (folder.join(FILE), folder.join(ID_FILE));
        if exists(&file)? {
            let place = folder.display();
            return Err(
                refused(format!("there is a store in {place} already")).coded(Code::StoreMismatch)
            );
        }
        if exists(&id_file)? {
            return Err(refused(format!(
                "{} names a store, but its {FILE} is not there: a wrong mount, or creation was \
                 interrupted; remove {ID_FILE} only if the folder never held a store",
                id_file.display()
            ))
            .coded(Code::StoreMismatch));
        }
        if let Some(other) = first_foreign(folder)? {
            return Err(refused(format!(
                "{} holds other things, such as {other}: a new store is made in a missing or empty \
                 folder only; name one, as in --data {}",
                folder.display(),
                folder.join("edgebus-data").display()
            ))
            .coded(Code::FolderNotEmpty));
        }
        make_folder(folder)?;
        let identity = new_identity()?;
        write_id(&id_file, identity.store_id)?;
        let making = folder.join(MAKING);
        let made = make(&making, &identity)
            .and_then(|()| fs::rename(&making, &file).map_err(at(&file, "name")))
            .and_then(|()| flush_folder(folder));
        if let Err(error) = made {
            // Nothing was promised yet: the folder is left as it was, as far as that can be done.
            for part in [&making, &id_file] {
                let _ = fs::remove_file(part);
            }
            return Err(error);
        }
        if let Some(parent) = folder.parent().filter(|parent| parent.is_dir()) {
            flush_folder(parent)?;
        }
        Self::open(folder, settings)
    }

    /// Opens the store in `folder`. It counts as unclean from here until a `MarkClean(true)`.
    ///
    /// # Errors
    /// [`Kind::Refused`] if there is none, if it is empty, foreign, of a newer release, another
    /// one than `edgebus.id` names, or in use. [`Kind::Corrupt`] if what it knows of itself is corrupt.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, Error> {
        Self::open_reporting(folder, settings, &Progress::silent())
    }

    /// As [`RedbStore::open`], and says how far it is.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_reporting(
        folder: &Path,
        settings: Settings,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let (file, id_file) = (folder.join(FILE), folder.join(ID_FILE));
        let store_id = read_id(&id_file, exists(&file)?)?;
        check_file(&file)?;
        keep_private(folder);
        peek(&file, store_id)?;
        let backend = File::options().read(true).write(true).open(&file);
        let backend = FileBackend::new(backend.map_err(at(&file, "open"))?)
            .map_err(|error| not_opened(&file, error))?;
        let device =
            Device::new(backend, settings.recorded_from_bytes).map_err(at(&file, "read"))?;
        let opened = open_device(device, settings.cache_bytes, progress)?
            .map_err(|error| not_opened(&file, error))?;
        Self::start(opened, store_id, settings.filter_bytes_max, progress)
    }
}

impl RedbStore {
    /// True if `folder` holds a store, or a part of one that [`RedbStore::create`] would refuse to touch.
    ///
    /// # Errors
    /// [`Kind::Refused`] if the folder can't be looked at.
    pub fn present(folder: &Path) -> Result<bool, Error> {
        Ok(exists(&folder.join(FILE))? || exists(&folder.join(ID_FILE))?)
    }

    /// Looks at the store in `folder` without opening it, so that nothing of it changes: `None` if there
    /// is none, else whether a process has it open.
    ///
    /// # Errors
    /// [`Kind::Refused`] if the folder can't be looked at or is not a store's.
    pub fn in_use(folder: &Path) -> Result<Option<bool>, Error> {
        if !Self::present(folder)? {
            return Ok(None);
        }
        let file = folder.join(FILE);
        read_id(&folder.join(ID_FILE), exists(&file)?)?;
        check_file(&file)?;
        let opened = File::open(&file).map_err(at(&file, "read"))?;
        // redb holds this lock as long as it has the file open.
        match opened.try_lock_shared() {
            Ok(()) => Ok(Some(false)),
            Err(fs::TryLockError::WouldBlock) => Ok(Some(true)),
            Err(fs::TryLockError::Error(error)) => Err(at(&file, "lock")(error)),
        }
    }
}

/// Something in the folder that is not of a store, if there is such a thing.
fn first_foreign(folder: &Path) -> Result<Option<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(folder, "read the folder")(error)),
    };
    // A new file system has a `lost+corruption_log`; the rest is what a maker that was interrupted leaves, and
    // what stays when somebody takes the store's two files away.
    const OURS: [&str; 4] = ["lost+found", MAKING, BALLAST_FILE, "code-cache"];
    for entry in entries {
        let name = entry.map_err(at(folder, "read the folder"))?.file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            return Ok(Some(name.to_string_lossy().escape_debug().to_string()));
        }
    }
    Ok(None)
}

/// Makes the folder if it is missing, for its owner alone.
fn make_folder(folder: &Path) -> Result<(), Error> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(at(parent, "make the folder"))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(at(folder, "make the folder")),
    }
}

/// Takes the rights of others on the store's files away, and says so of a folder that is open to them:
/// events and the store's secret are in there.
fn keep_private(folder: &Path) {
    let open_to_others = |path: &Path| {
        let mode = fs::metadata(path).map(|found| found.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o077 != 0)
    };
    for file in [FILE, ID_FILE].map(|name| folder.join(name)) {
        if open_to_others(&file)
            && let Err(error) = fs::set_permissions(&file, Permissions::from_mode(0o600))
        {
            let file = file.display();
            tracing::warn!(%error, "{file} can be read by other users: chmod 600 {file}");
        }
    }
    if open_to_others(folder) {
        let folder = folder.display();
        tracing::warn!("other users can look into {folder}: chmod 700 {folder}");
    }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(at(path, "look at"))
}

fn new_identity() -> Result<Identity, Error> {
    let mut identity = Identity {
        format: MADE_FORMAT,
        store_id: [0; 16],
        secret: [0; 32],
    };
    for bytes in [&mut identity.store_id[..], &mut identity.secret[..]] {
        SysRng
            .try_fill_bytes(bytes)
            .map_err(|error| refused(format!("the system gives no random bytes: {error}")))?;
    }
    Ok(identity)
}

fn write_id(path: &Path, store_id: [u8; 16]) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path, "make"))?;
    let mut text = ID_HEAD.to_owned();
    text.extend(store_id.iter().map(|byte| format!("{byte:02x}")));
    text.push('\n');
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at(path, "write"))
}

fn read_id(path: &Path, store_is_there: bool) -> Result<[u8; 16], Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path).display();
            return Err(if store_is_there {
                refused(format!(
                    "{} is missing: the store's file is not where it was made",
                    path.display()
                ))
                .coded(Code::StoreMismatch)
            } else {
                refused(format!(
                    "there is no store in {folder}; `--create` makes one"
                ))
                .coded(Code::StoreMissing)
            });
        }
        Err(error) => return Err(at(path, "read")(error)),
    };
    let hex = text
        .strip_prefix(ID_HEAD)
        .and_then(|rest| rest.strip_suffix('\n'));
    hex.and_then(from_hex).ok_or_else(|| {
        refused(format!("{} does not hold a store id", path.display())).coded(Code::StoreMismatch)
    })
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Writes a whole new database to `path`, flushed and closed.
fn make(path: &Path, identity: &Identity) -> Result<(), Error> {
    let file = make_file(path)?;
    let flushing = file.try_clone().map_err(at(path, "make"))?;
    let database = Builder::new().create_file(file).map_err(engine)?;
    write_new(&database, identity)?;
    drop(database);
    flushing.sync_all().map_err(at(path, "flush"))
}

/// Makes an empty file for its owner alone, in place of one that a process left that was interrupted.
pub(super) fn make_file(path: &Path) -> Result<File, Error> {
    if exists(path)? {
        fs::remove_file(path).map_err(at(path, "remove the left-over"))?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path, "make"))
}

/// Writes the rows of a new store into an empty database.
pub(super) fn write_new(database: &Database, identity: &Identity) -> Result<(), Error> {
    let mut transaction = database.begin_write().map_err(engine)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(engine)?;
    transaction.set_two_phase_commit(true);
    catalog::write_genesis(&mut Tables::new(&transaction, Arc::default()), identity)?;
    transaction.commit().map_err(engine)
}

pub(super) fn flush_folder(folder: &Path) -> Result<(), Error> {
    let open = File::open(folder).and_then(|folder| folder.sync_all());
    open.map_err(at(folder, "flush the folder"))
}

/// Refuses what the engine would refuse too, and what it would make new, before it sees the file.
fn check_file(path: &Path) -> Result<(), Error> {
    let missing = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound {
            Code::StoreMismatch
        } else {
            Code::StoreInaccessible
        };
        refused(format!(
            "the store's file {} can't be read: {error}",
            path.display()
        ))
        .coded(code)
    };
    let mut head = Vec::with_capacity(MAGIC.len());
    let mut file = File::open(path).map_err(missing)?;
    (&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(missing)?;
    if head.is_empty() {
        return Err(
            refused(format!("the store's file {} is empty", path.display()))
                .coded(Code::StoreForeign),
        );
    }
    if head != MAGIC {
        let path = path.display();
        return Err(refused(format!("{path} is not a store's file")).coded(Code::StoreForeign));
    }
    Ok(())
}

/// Looks at the identity without changing a byte. A file that was not closed in order can't be
/// looked at so; then the same check follows after the engine's recovery.
fn peek(path: &Path, store_id: [u8; 16]) -> Result<(), Error> {
    let open = super::guarded(|| Ok(Builder::new().open_read_only(path)))?;
    let database = match open {
        Ok(database) => database,
        Err(DatabaseError::RepairAborted) => return Ok(()),
        Err(error) => return Err(not_opened(path, error)),
    };
    super::guarded(|| {
        let rows = ReadTx::new(database.begin_read().map_err(engine)?, Arc::default());
        check_identity(&rows, store_id).map(|_| ())
    })
}

/// Opens the database on a device that is not empty; an engine's panic is the outer error.
pub(super) fn open_device(
    device: Device<impl StorageBackend>,
    cache_bytes: usize,
    progress: &Progress,
) -> Result<Result<Opened, DatabaseError>, Error> {
    let length = device.length();
    let walked = Arc::new(AtomicBool::new(false));
    let (repairing, walking) = (progress.clone(), walked.clone());
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(move |session| {
        walking.store(true, Ordering::Relaxed);
        let percent = format!("{:.0} %", session.progress() * 100.0);
        repairing.tell("checking the store after an unclean stop", &percent);
    });
    let open = super::guarded(|| Ok(builder.create_with_backend(device)))?;
    Ok(open.map(|database| Opened {
        database,
        length,
        walked: walked.load(Ordering::Relaxed),
    }))
}

/// Reads the identity and refuses a foreign, newer or other store.
pub(super) fn check_identity(rows: &ReadTx, store_id: [u8; 16]) -> Result<Identity, Error> {
    let identity = catalog::read_identity(rows).map_err(|error| match error.kind {
        Kind::Unknown => {
            refused(format!("the file is not an edgebus store: {error}")).coded(Code::StoreForeign)
        }
        _ => error,
    })?;
    catalog::judge(&identity, store_id)?;
    Ok(identity)
}

fn not_opened(path: &Path, error: DatabaseError) -> Error {
    let place: PathBuf = path.to_owned();
    let place = place.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => refused(format!(
            "{place} is in use by another process: one bus at a time"
        ))
        .coded(Code::StoreInUse),
        DatabaseError::UpgradeRequired(version) => refused(format!(
            "{place} has engine format {version}, which this release does not read"
        ))
        .coded(Code::StoreNewer),
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::StorageFull =>
        {
            refused(format!(
                "the disk is full, and opening {place} needs some room: {error}; free some space"
            ))
            .coded(Code::DiskNearlyFull)
        }
        DatabaseError::Storage(StorageError::Corrupted(what)) => refused(format!(
            "{place} can't be opened: a page of it is corrupt ({what}); nothing was changed. \
             Restore the folder from a copy that was made while the bus was stopped"
        ))
        .coded(Code::RecordCorrupt),
        error => refused(format!("{place} can't be opened: {error}")),
    }
}

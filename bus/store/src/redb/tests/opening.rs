//! Making and opening: only what was asked for.

use std::fs;

use super::*;

fn refusal(result: Result<RedbStore, Error>) -> String {
    let error = result.expect_err("it was opened");
    assert_eq!(error.kind, Kind::Refused, "{error}");
    error.message
}

/// What is done to a folder, and what the refusal says.
type Case = (&'static str, &'static str, fn(&Path));

/// Names and bytes of everything in a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn nothing_is_made_where_opening_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no");
    assert!(refusal(RedbStore::open(&missing, small())).contains("--create"));
    assert!(!missing.exists());
    assert!(refusal(RedbStore::open(folder.path(), small())).contains("no store"));
    assert!(contents(folder.path()).is_empty());
}

#[test]
fn an_existing_store_is_never_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deep/er");
    drop(RedbStore::create(&folder, small()).unwrap());
    let before = contents_of_files(&folder);
    assert!(refusal(RedbStore::create(&folder, small())).contains("already"));
    assert_eq!(contents_of_files(&folder), before);
    fs::remove_file(folder.join(FILE)).unwrap();
    assert!(refusal(RedbStore::create(&folder, small())).contains("wrong mount"));
}

fn contents_of_files(folder: &Path) -> Vec<Vec<u8>> {
    [FILE, ID_FILE]
        .map(|name| fs::read(folder.join(name)).unwrap())
        .into()
}

#[test]
fn corrupt_folders_are_refused_and_not_changed() {
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        drop(RedbStore::create(folder.path(), small()).unwrap());
        folder
    };
    let table: [Case; 8] = [
        ("missing file", "can't be read", |folder| {
            fs::remove_file(folder.join(FILE)).unwrap();
        }),
        ("empty file", "is empty", |folder| {
            fs::write(folder.join(FILE), b"").unwrap();
        }),
        ("foreign file", "not a store", |folder| {
            fs::write(folder.join(FILE), vec![7; 9000]).unwrap();
        }),
        ("short file", "can't be opened", |folder| {
            let bytes = fs::read(folder.join(FILE)).unwrap();
            fs::write(folder.join(FILE), &bytes[..100]).unwrap();
        }),
        ("missing id", "is missing", |folder| {
            fs::remove_file(folder.join(ID_FILE)).unwrap();
        }),
        ("corrupt id", "does not hold", |folder| {
            fs::write(folder.join(ID_FILE), b"edgebus store id 1: zz\n").unwrap();
        }),
        ("other id", "another store's", |folder| {
            let id = format!("edgebus store id 1: {:032x}\n", 5);
            fs::write(folder.join(ID_FILE), id).unwrap();
        }),
        ("foreign database", "not an edgebus store", |folder| {
            fs::remove_file(folder.join(FILE)).unwrap();
            let database = Database::create(folder.join(FILE)).unwrap();
            drop(database);
        }),
    ];
    for (what, says, corruption) in table {
        let folder = make();
        corruption(folder.path());
        let before = contents(folder.path());
        let message = refusal(RedbStore::open(folder.path(), small()));
        assert!(message.contains(says), "{what}: {message}");
        assert!(
            contents(folder.path()) == before,
            "{what}: something was changed"
        );
    }
}

#[test]
fn a_newer_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(RedbStore::create(folder.path(), small()).unwrap());
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    Tables::new(&transaction, Arc::default())
        .put(Table::Meta, catalog::IDENTITY, |out| {
            out.u32(catalog::STORE_FORMAT + 1);
            out.extend_from_slice(b"whatever a newer one keeps here");
        })
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = contents(folder.path());
    let message = refusal(RedbStore::open(folder.path(), small()));
    assert!(message.contains("newer release"), "{message}");
    assert!(contents(folder.path()) == before);
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::create(folder.path(), small()).unwrap();
    let message = refusal(RedbStore::open(folder.path(), small()));
    assert!(message.contains("in use"), "{message}");
    drop(store);
    assert!(RedbStore::open(folder.path(), small()).is_ok());
}

#[test]
fn stores_differ_in_id_and_secret() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        let store = RedbStore::create(&folder.path().join(name), small()).unwrap();
        store.catalog().unwrap()
    });
    assert!(a.store_id != b.store_id && a.secret != b.secret && a.secret != [0; 32]);
}

//! What a manifest says of its store without the store, and a store that has nothing left but its archive.

use std::collections::BTreeSet;

use super::*;
use crate::archive::aof::names;
use crate::ring::store::Named;
use crate::storage::{Storage, Writer};

#[test]
fn a_manifest_names_the_nodes_that_hold_copies() {
    let process = Process::start(&FaultyStorage::new());
    let node = process.store.node_id();
    let named = |process: &Process| Named::by(&process.storage.meta().unwrap()).unwrap();
    let nobody = Named {
        node,
        members: BTreeSet::new(),
    };
    assert_eq!(named(&process), nobody);
    process
        .do_(process.store.found_all(&[3], founder(), &alone()))
        .unwrap();
    assert_eq!(named(&process).members, [NODE].into());
    let others = Configuration::founding(&[NODE, NodeId(8), NodeId(9)], Quorum::ALONE);
    process
        .do_(process.store.found_all(&[4], founder(), &others))
        .unwrap();
    let everybody = [NODE, NodeId(8), NodeId(9)].into();
    assert_eq!(named(&process).members, everybody);

    let meta = process.storage.meta().unwrap();
    for at in 0..meta.len() {
        let mut damaged = meta.to_vec();
        damaged[at] ^= 1;
        assert!(Named::by(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn no_store_is_begun_where_there_is_only_an_archive() {
    for object in [names::manifest(), Object::Archive("dump.rdb".into())] {
        let storage = FaultyStorage::new();
        let runtime = TestRuntime::new(1);
        runtime.block_on(async {
            storage.load().await.unwrap();
            let mut writer = storage.create(object.clone()).await.unwrap();
            let end = writer.append(b"something").unwrap();
            writer.settle(end, Durability::Synced).await.unwrap();
        });
        storage.unlock();
        let opened = Process::start_with(&storage, options(Sync::EverySecond));
        let error = opened.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
        assert!(error.to_string().contains("archive"), "{error}");
        assert_eq!(storage.meta(), None);
    }
}

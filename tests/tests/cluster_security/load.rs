//! A client that goes on while others mean harm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use trilith_tests::cluster::await_some;
use trilith_tests::{Client, Reply};

/// Keys that are written over and over.
const KEYS: u64 = 50;

/// Writes and reads by way of one node until it is dropped.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let sharing = Arc::clone(&shared);
        let thread = std::thread::spawn(move || work(address, &sharing));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Passes when it still gets on.
    pub fn gets_on(&self) {
        let before = self.shared.done.load(Relaxed);
        await_some("the load's progress", Duration::from_secs(30), || {
            (self.shared.done.load(Relaxed) >= before + 20).then_some(())
        })
        .unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        let has_failed = matches!(ended, Some(Err(_)));
        assert!(std::thread::panicking() || !has_failed, "the load failed");
    }
}

fn work(address: SocketAddr, shared: &Shared) {
    let mut client = Client::connect(address).unwrap();
    for number in 0.. {
        if shared.is_over.load(Relaxed) {
            return;
        }
        let (key, value) = (format!("load:{}", number % KEYS), number.to_string());
        assert_eq!(client.call(&["SET", &key, &value]).unwrap(), Reply::ok());
        let read = client.call(&["GET", &key]).unwrap();
        assert_eq!(read, Reply::bulk(&value));
        shared.done.fetch_add(1, Relaxed);
        // A little load: what is measured is not the load.
        std::thread::sleep(Duration::from_millis(2));
    }
}

//! When the system asks the process to end.

/// Ready when it does. From this call on, not from the first poll, such a request ends nothing by itself: whoever is
/// served at all is served by a process that ends in good order. Must be called within tokio.
pub fn signalled() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let asked = {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate());
        (terminate, signal(SignalKind::interrupt()))
    };
    async move {
        #[cfg(unix)]
        if let (Ok(mut terminate), Ok(mut interrupt)) = asked {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals there is still SHUTDOWN.
            std::future::pending::<()>().await;
        }
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The sandbox can't be made.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::Error),
    /// What is active in the store can't be loaded.
    #[error(transparent)]
    Deploy(#[from] crate::deploy::Error),
    /// The operating system gives no thread.
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

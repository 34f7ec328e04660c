//! The flag that names the bus. All commands that need a running bus share it.

use super::client::{self, Client};

/// Where a bus is looked for.
const URL: &str = "http://127.0.0.1:7070";

/// The bus's address.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Connection {
    /// The bus's address.
    #[arg(
        long,
        env = "EDGEBUS_URL",
        value_name = "URL",
        default_value = URL
    )]
    pub(super) url: String,
}

impl Connection {
    /// A client of that bus; it is not reached yet.
    ///
    /// # Errors
    /// [`client::Error::Address`].
    pub(super) fn client(&self) -> Result<Client, client::Error> {
        // An empty variable is as good as none.
        Client::new(match self.url.as_str() {
            "" => URL,
            url => url,
        })
    }
}

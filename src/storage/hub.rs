//! Repositories of the Hugging Face hub, as folders that are only read. `retune push` alone writes to them, by
//! commits ([`commit`]): a commit is no object that gets its name when it is whole.
//!
//! A file lies at `<endpoint>/<repository>/resolve/<revision>/<path>`. A large one is not kept there: the hub
//! answers with its size and digest and sends on to another host, which never sees the token. Folders are listed
//! page by page by the hub's API. A branch or tag moves; [`Hub::commit`] says which commit it is now, and
//! everything that a job reads is read of that commit.

mod address;
mod commit;
mod config;
mod large;
mod place;
mod post;
mod request;
mod store;
mod tree;

use serde::Deserialize;

pub use commit::{HubCommit, HubFile};
pub use config::{HubConfig, HubToken, TOKEN_VARIABLE};
pub use request::{Hub, HubServer};

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

impl Hub {
    /// The commit that the repository's revision is now.
    ///
    /// # Errors
    /// When there is no such revision, or the hub does not answer.
    pub async fn commit(&self, repository: &str) -> object_store::Result<String> {
        let url = self.api(repository, "revision", "");
        let answer = self.server.json::<Revision>(url).await?;
        Ok(answer.body.sha)
    }
}

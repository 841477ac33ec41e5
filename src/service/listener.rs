//! Accepts connections and speaks HTTP on them, within bounds: whoever connects and says nothing, or says it
//! slowly, neither stays nor keeps others out.
//!
//! Order of events: a place among so many, then a connection, so that what finds no place waits in the system's
//! queue; one address has a part of the places, and what exceeds that is closed at once. Then requests, each head
//! of which must come within a time, and answers, of which the other side must take some within a time. At the end no connection is accepted any more, idle ones are closed, and
//! requests under way are answered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use crate::{
    config,
    service::state::{Shares, site},
};

/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 64 << 10;

/// Wait after a connection could not be accepted: no descriptor may be left, which takes its time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown`, and then until the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &config::Http,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(most_connections(settings)));
    let addresses = Shares::new(settings.connections_per_address);
    let mut open = JoinSet::new();
    while let Some(Ok(place)) = shutdown
        .run_until_cancelled(Arc::clone(&places).acquire_owned())
        .await
    {
        while open.try_join_next().is_some() {}
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else {
            break;
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Proxies connect for many.
        let is_proxy = settings
            .trusted_proxies
            .iter()
            .any(|proxy| proxy.contains(&peer.ip()));
        let share = addresses.take(site(peer.ip()));
        if share.is_none() && !is_proxy {
            tracing::debug!(%peer, "an address has as many connections as it may");
            continue;
        }

        let conversation = Conversation {
            stream,
            peer,
            header_timeout: settings.header_timeout,
            write_timeout: settings.write_timeout,
            shutdown: shutdown.clone(),
        };
        let router = router.clone();
        open.spawn(async move {
            conversation.hold(router).await;
            drop((share, place));
        });
    }

    drop(listener);
    while open.join_next().await.is_some() {}
}

/// As the settings say, and not more than the system gives descriptors for: a quarter of them is for the database,
/// for storage and for webhooks.
fn most_connections(settings: &config::Http) -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .and_then(|(soft, _)| usize::try_from(soft).ok())
        .map_or(Semaphore::MAX_PERMITS, |soft| soft / 4 * 3);
    let wanted = if settings.max_connections == 0 {
        usize::MAX
    } else {
        settings.max_connections
    };
    wanted.min(descriptors).clamp(1, Semaphore::MAX_PERMITS)
}

/// One connection.
struct Conversation {
    stream: TcpStream,
    peer: SocketAddr,
    header_timeout: Duration,
    write_timeout: Duration,
    shutdown: CancellationToken,
}

impl Conversation {
    /// Until either side ends it, the head of a request does not come, or an answer is not taken.
    async fn hold(self, router: Router) {
        let service = Extension(ConnectInfo(self.peer)).layer(router);
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_LIMIT);
        let mut stream = TimeoutStream::new(self.stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let io = TokioIo::new(Box::pin(stream));
        let connection = builder.serve_connection(io, TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);

        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %self.peer, "a connection broke off");
        }
    }
}

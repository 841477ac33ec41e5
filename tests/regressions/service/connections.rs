//! Connections that never finish what they began.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use retune::{
    config::{self, Settings},
    service::listener,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, http, within};

struct Service {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Service {
    async fn start(header_timeout: Duration, max_connections: usize) -> Self {
        let mut settings = Settings::default().http;
        settings.header_timeout = header_timeout;
        settings.max_connections = max_connections;
        Self::by(settings).await
    }

    async fn by(settings: config::Http) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let end = shutdown.clone();
        // More than the buffers on the way hold.
        let much = get(|| async { vec![0; 256 << 20] });
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/much", much);
        let task = tokio::spawn(async move {
            listener::serve(listener, router, &settings, end).await;
        });
        Self {
            address,
            shutdown,
            task,
        }
    }

    async fn connect(&self, said: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream.write_all(said.as_bytes()).await.expect("sent");
        stream
    }

    async fn ask(&self) -> String {
        let asked = http().get(format!("http://{}/", self.address)).send();
        let answer = time::timeout(PATIENCE, asked)
            .await
            .expect("in time")
            .expect("an answer");
        answer.text().await.expect("text")
    }
}

/// What the service still says before it closes the connection.
async fn closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let reading = time::timeout(PATIENCE, stream.read_to_end(&mut said));
    // A reset is an end, too.
    let _ = reading.await.expect("the connection is closed");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_and_a_connection_that_says_nothing_are_closed() {
    let service = Service::start(Duration::from_millis(200), 0).await;
    for said in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let stream = service.connect(said).await;
        let said = closed(stream).await;
        assert!(!said.contains("here"), "{said}");
    }
    // And so is one that asks nothing more.
    let idle = service.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(closed(idle).await.contains("here"));
}

#[tokio::test]
async fn a_head_of_any_length_is_not_read() {
    let service = Service::start(PATIENCE, 0).await;
    let mut stream = service.connect("GET / HTTP/1.1\r\nHost: x\r\n").await;
    let line = format!("X-Long: {}\r\n", "x".repeat(8000));
    // Until the service has had enough.
    let sending = async {
        for _ in 0..100_000 {
            if stream.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("800 MB of headers were taken");
    };
    time::timeout(PATIENCE, sending)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn those_who_say_nothing_keep_others_out_for_a_bounded_time() {
    let service = Service::start(Duration::from_millis(300), 2).await;
    let (one, two) = (service.connect("").await, service.connect("GET /").await);
    let (further, ..) = futures::join!(service.ask(), closed(one), closed(two));
    assert_eq!(further, "here");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let mut settings = Settings::default().http;
    settings.write_timeout = Duration::from_millis(300);
    settings.max_connections = 1;
    let service = Service::by(settings).await;
    let mut silent = service
        .connect("GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let mut begun = [0; 12];
    silent
        .read_exact(&mut begun)
        .await
        .expect("the answer begins");
    assert_eq!(&begun, b"HTTP/1.1 200");
    // It has the one place for a bounded time.
    assert_eq!(service.ask().await, "here");
}

#[tokio::test]
async fn one_address_has_a_part_of_the_connections() {
    let mut settings = Settings::default().http;
    settings.header_timeout = PATIENCE;
    settings.connections_per_address = 2;
    let service = Service::by(settings.clone()).await;
    let (one, two) = (service.connect("").await, service.connect("").await);
    let third = TcpStream::connect(service.address)
        .await
        .expect("a connection");
    assert_eq!(closed(third).await, "");
    drop((one, two));
    within("there is room again", async || {
        let answer = http()
            .get(format!("http://{}/", service.address))
            .send()
            .await;
        answer.is_ok().then_some(())
    })
    .await;

    // A proxy connects for many.
    settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let service = Service::by(settings).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(service.connect("").await);
    }
    assert_eq!(service.ask().await, "here");
}

#[tokio::test]
async fn the_end_closes_idle_connections_and_waits_for_no_head() {
    let service = Service::start(PATIENCE, 0).await;
    assert_eq!(service.ask().await, "here");
    let idle = service.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut first = [0; 1];
    let mut idle = idle;
    idle.read_exact(&mut first).await.expect("an answer");
    service.shutdown.cancel();
    closed(idle).await;
    time::timeout(PATIENCE, service.task)
        .await
        .expect("in time")
        .expect("no panic");
}

//! A TCP proxy before the database, which a test can cut and restore.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on until it is cut; then it drops every connection, old and new.
pub struct Proxy {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Proxy {
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = upstream.clone();
                let mut watched = watched.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = watched.wait_for(|is_open| !is_open) => {}
                        () = pass_on(client, upstream) => {}
                    }
                });
            }
        });
        Self { address, is_open }
    }

    /// A proxy before the PostgreSQL of `url`, and the URL that leads through it.
    pub async fn before(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let host = url.host_str().unwrap();
        let port = url.port().unwrap_or(5432);
        let proxy = Self::start(format!("{host}:{port}")).await;
        url.set_ip_host(proxy.address.ip()).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.into())
    }

    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    pub fn restore(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass_on(mut client: TcpStream, upstream: String) {
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

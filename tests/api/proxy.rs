//! A TCP proxy in front of the database that a test can cut, silence and restore.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy)]
enum State {
    /// Forwards bytes.
    Open,
    /// Keeps connections open without forwarding.
    Silent,
    /// Closes all connections, old and new.
    Cut,
}

pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Starts a proxy for the PostgreSQL of `url`; returns it with the URL that leads through it.
    pub async fn in_front_of(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let host = url.host_str().unwrap();
        let port = url.port().unwrap_or(5432);
        let proxy = Self::start(format!("{host}:{port}")).await;
        url.set_ip_host(proxy.address.ip()).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.into())
    }

    async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream.clone(), watched.clone()));
            }
        });
        Self { address, state }
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Forwards new connections; silenced ones are closed.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn serve(client: TcpStream, upstream: String, mut watched: watch::Receiver<State>) {
    let state = *watched.borrow_and_update();
    match state {
        State::Open => {
            let copying = pass_on(client, upstream);
            tokio::pin!(copying);
            tokio::select! {
                biased;
                _ = watched.changed() => {}
                () = &mut copying => return,
            }
            if matches!(*watched.borrow_and_update(), State::Silent) {
                let _ = watched.changed().await;
            }
        }
        State::Silent => {
            let _ = watched.changed().await;
        }
        State::Cut => {}
    }
}

async fn pass_on(mut client: TcpStream, upstream: String) {
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

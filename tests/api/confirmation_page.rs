//! The requests of the page's script, and requests that only others send. Tests in tests/e2e run
//! the page in a browser.

use contact_service::{
    api::proto::{ConfirmationState, Contact},
    brand::{Brand, BrandContact, BrandName, Color, Logo},
    web::{self, ListenerLimits},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Backend, TestServer, execute},
    mailbox::{BRAND_NAME, brand},
};

const NEW: &str = "neu@muster.example";
const JSON: &str = "application/json";
const LOGO: &[u8] = include_bytes!("../support/logo.png");

async fn with_link(server: &TestServer) -> (Contact, String) {
    let contact = server.create_customer_with_contact("K-1").await;
    server.change_email(&contact, NEW).await.unwrap();
    (contact, server.mailed_token(NEW).await)
}

fn request(server: &TestServer, method: Method, path: &str) -> RequestBuilder {
    let url = format!("http://{}{path}", server.page_address);
    Client::new().request(method, url)
}

async fn post(server: &TestServer, path: &str, content_type: &str, body: String) -> Response {
    request(server, Method::POST, path)
        .header("content-type", content_type)
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn post_token(server: &TestServer, path: &str, token: &str) -> Value {
    let body = json!({ "token": token }).to_string();
    let response = post(server, path, JSON, body).await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn is_pending(server: &TestServer, contact: &Contact) -> bool {
    server.contact(contact).await.pending_email.is_some()
}

#[rstest]
#[tokio::test]
async fn page_script_gets_the_state_and_confirms_on_click(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    let pending = json!({
        "state": "pending",
        "masked_email": "n***@m***.example",
        "expire_time": "2026-03-08T09:00:00+00:00",
        "already_confirmed": false,
    });
    for _ in 0..2 {
        assert_eq!(
            post_token(&server, "/confirm/inspect", &token).await,
            pending
        );
    }
    assert!(is_pending(&server, &contact).await);
    for already_confirmed in [false, true] {
        let response = post_token(&server, "/confirm/press", &token).await;
        assert_eq!(response["state"], "confirmed");
        assert_eq!(response["already_confirmed"], already_confirmed);
    }
    assert_eq!(server.contact(&contact).await.email, NEW);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(event.actor, "confirmation-page");
}

#[rstest]
#[tokio::test]
async fn dead_links_are_reported_with_their_reason(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, superseded) = with_link(&server).await;
    server
        .change_email(&contact, "neuer@muster.example")
        .await
        .unwrap();
    let expired = server.mailed_token("neuer@muster.example").await;
    server.clock.advance(chrono::TimeDelta::days(7));
    let unknown = format!("K-1.{}", "0".repeat(64));
    for (token, state) in [
        (superseded.as_str(), "superseded"),
        (&expired, "expired"),
        (&unknown, "unknown"),
        ("nonsense", "unknown"),
        ("", "unknown"),
    ] {
        for path in ["/confirm/inspect", "/confirm/press"] {
            assert_eq!(
                post_token(&server, path, token).await["state"],
                state,
                "{path}"
            );
        }
    }
}

#[rstest]
#[tokio::test]
async fn rule_9_only_the_script_request_confirms(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    let body = json!({ "token": token }).to_string();
    for path in [
        "/confirm",
        "/confirm/",
        "/confirm/press",
        "/confirm/inspect",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
            let method = method.parse().unwrap();
            let with_token = format!("{path}?token={token}");
            for path in [path, &with_token] {
                request(&server, Method::clone(&method), path)
                    .header("content-type", JSON)
                    .body(body.clone())
                    .send()
                    .await
                    .unwrap();
            }
        }
        // Requests that a form of another page can send.
        for (content_type, body) in [
            (
                "application/x-www-form-urlencoded",
                format!("token={token}"),
            ),
            ("text/plain", body.clone()),
            ("multipart/form-data; boundary=x", body.clone()),
            ("", body.clone()),
        ] {
            let response = post(&server, path, content_type, body).await;
            assert!(response.status().is_client_error(), "{path} {content_type}");
        }
    }
    for site in ["cross-site", "same-site", "none"] {
        let response = request(&server, Method::POST, "/confirm/press")
            .header("content-type", JSON)
            .header("sec-fetch-site", site)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{site}");
    }
    for origin in ["https://attacker.example", "null", ""] {
        let response = request(&server, Method::POST, "/confirm/press")
            .header("content-type", JSON)
            .header("sec-fetch-site", "same-origin")
            .header("origin", origin)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    assert!(is_pending(&server, &contact).await);
    post_token(&server, "/confirm/press", &token).await;
    assert!(!is_pending(&server, &contact).await);
}

#[rstest]
#[tokio::test]
async fn damaged_link_opens_the_page_and_confirms_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    let whole = format!("confirm#{token}");
    for (path, location) in [
        ("/confirm/".to_owned(), "../confirm"),
        ("//Confirm".to_owned(), "../confirm"),
        (format!("/confirm%23{token}"), &whole),
        (format!("/confirm%23{token}%3E."), &whole),
        (format!("/CONFIRM%2523{token}?utm_source=x"), &whole),
        (format!("/confirm=23{token}"), &whole),
        (format!("/confirm%3D23{token}"), &whole),
        (format!("/confirm%23{token}").replace('.', ".%0A"), &whole),
        (format!("/confirm%23{token}").replace('.', "%20."), &whole),
        (
            format!("/confirm%23{token}").replace('.', ".=%0D%0A"),
            &whole,
        ),
        (format!("/confirm?utm_source=x%23{token}"), &whole),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let url = format!("http://{}{path}", server.page_address);
            let client = Client::builder().redirect(reqwest::redirect::Policy::none());
            let request = client.build().unwrap().request(method, url);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
            assert_eq!(response.headers()["location"], location, "{path}");
            assert_eq!(response.headers()["referrer-policy"], "no-referrer");
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        // A browser follows the redirect.
        let page = request(&server, Method::GET, &path).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert_eq!(page.url().path(), "/confirm", "{path}");
        let posted = post(&server, &path, JSON, json!({ "token": token }).to_string()).await;
        assert!(posted.status().is_client_error(), "{path}");
    }
    assert!(is_pending(&server, &contact).await);
}

#[rstest]
#[tokio::test]
async fn token_is_recovered_from_a_damaged_link(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (contact, token) = with_link(&server).await;
    let (start, end) = token.split_at(40);
    for copied in [
        format!(" {token}\r\n"),
        format!("<{token}>."),
        format!("\u{201e}{token}\u{201c},"),
        format!("https://x/confirm#{token}"),
        format!("[x](https://x/confirm#{token})"),
        format!("%2523{token}"),
        format!("token={token}&utm_source=x"),
        format!("{token}:~:text=x"),
        token.replace('.', "%2E"),
        format!("{start}\r\n{end}"),
        format!("{start} {end}"),
        format!("{start}\u{200b}{end}"),
        format!("{start}\u{ad}{end}"),
        format!("{start}=\r\n{end}"),
    ] {
        let inspected = server.inspect(&copied).await.expect(&copied);
        assert_eq!(inspected.state(), ConfirmationState::Pending, "{copied}");
        let response = post_token(&server, "/confirm/inspect", &copied).await;
        assert_eq!(response["state"], "pending", "{copied}");
    }
    server
        .confirm(&format!("https://x/confirm#{start}\n{end}."))
        .await
        .unwrap();
    assert!(!is_pending(&server, &contact).await);
}

#[rstest]
#[tokio::test]
async fn every_response_has_a_restrictive_policy(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (method, path, status) in [
        (Method::GET, "/confirm", StatusCode::OK),
        (Method::HEAD, "/confirm", StatusCode::OK),
        (Method::GET, "/confirm/script.js", StatusCode::OK),
        (Method::GET, "/confirm/style.css", StatusCode::OK),
        (Method::GET, "/elsewhere", StatusCode::NOT_FOUND),
        (Method::POST, "/confirm", StatusCode::METHOD_NOT_ALLOWED),
        (
            Method::POST,
            "/confirm/press",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ] {
        let response = request(&server, method, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("form-action 'none'") && !policy.contains("unsafe"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-frame-options"), "DENY");
    }
}

#[rstest]
#[case::of_https("https://contact.example", Some("max-age=31536000"))]
#[case::of_http("http://contact.example", None)]
#[tokio::test]
async fn hsts_is_sent_for_https_pages_only(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] origin: &str,
    #[case] expected: Option<&str>,
) {
    let server = TestServer::start(backend).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = web::router(server.app.clone(), origin.to_owned(), &brand()).unwrap();
    let limits = ListenerLimits::page(64);
    tokio::spawn(web::serve(listener, router, limits, std::future::pending()));
    for path in ["/confirm", "/elsewhere"] {
        let response = reqwest::get(format!("http://{address}{path}")).await;
        let headers = response.unwrap().headers().clone();
        let header = headers.get("strict-transport-security");
        assert_eq!(
            header.map(|value| value.to_str().unwrap()),
            expected,
            "{path}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn page_uses_the_browser_language(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (accepted, lang) in [("de-DE,de;q=0.9", "de"), ("en-GB", "en"), ("fr", "en")] {
        let response = request(&server, Method::GET, "/confirm")
            .header("accept-language", accepted)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["vary"], "accept-language");
        let html = response.text().await.unwrap();
        assert!(
            html.contains(&format!("<html lang=\"{lang}\"")),
            "{accepted}"
        );
        // Nothing inline, nothing from other origins, no form.
        for forbidden in ["<form", "style=\"", "onclick", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}

/// Serves the page of a brand, and returns its address.
async fn serve_page_of(server: &TestServer, brand: &Brand) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = web::router(server.app.clone(), address.clone(), brand).unwrap();
    let limits = ListenerLimits::page(64);
    tokio::spawn(web::serve(listener, router, limits, std::future::pending()));
    address
}

#[rstest]
#[tokio::test]
async fn page_shows_the_brand_under_the_same_policy(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let brand = Brand {
        contact: Some(BrandContact::parse("0211 1234-0 <kontakt>").unwrap()),
        color: Color::parse("#ffdd00").unwrap(),
        logo: Some(Logo::parse(LOGO.to_vec()).unwrap()),
        time_zone: "Europe/Zurich".parse().unwrap(),
        ..Brand::new(BrandName::parse("Müller & <Söhne>").unwrap())
    };
    let address = serve_page_of(&server, &brand).await;
    let get = |path: &str| reqwest::get(format!("{address}{path}"));
    let html = get("/confirm").await.unwrap().text().await.unwrap();
    let escaped = "Müller &amp; &lt;Söhne&gt;";
    assert!(html.contains(&format!("– {escaped}</title>")), "{html}");
    assert!(html.contains("width=\"240\" height=\"60\""), "{html}");
    assert!(html.contains(&format!("alt=\"{escaped}\"")), "{html}");
    assert!(html.contains(&format!("wurde bei {escaped} für einen Ansprechpartner")));
    assert!(html.contains("0211 1234-0 &lt;kontakt&gt;"));
    assert!(html.contains("data-time-zone=\"Europe/Zurich\""));
    assert!(!html.contains("{brand}") && !html.contains("<Söhne>"));

    let style = get("/confirm/style.css").await.unwrap();
    let style = style.text().await.unwrap();
    assert!(style.contains("--button: #ffdd00;\n") && style.contains("--button-text: #000000;"));

    let logo = get("/confirm/logo").await.unwrap();
    let header = |name: &str| logo.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("cache-control"), "public, max-age=3600");
    assert!(header("content-security-policy").starts_with("default-src 'none';"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(logo.bytes().await.unwrap(), LOGO);
}

#[rstest]
#[tokio::test]
async fn page_without_a_logo_shows_the_name(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let response = request(&server, Method::GET, "/confirm").send().await;
    let html = response.unwrap().text().await.unwrap();
    assert!(html.contains(&format!("<p translate=\"no\">{BRAND_NAME}</p>")));
    assert!(
        !html.contains("<img") && !html.contains("<footer"),
        "{html}"
    );
    let logo = request(&server, Method::GET, "/confirm/logo").send().await;
    let logo = logo.unwrap();
    assert_eq!(logo.status(), StatusCode::NOT_FOUND);
    assert_eq!(logo.headers()["cache-control"], "no-store");
}

#[rstest]
#[tokio::test]
async fn bad_bodies_and_database_failures_reveal_no_details(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (_, token) = with_link(&server).await;
    for (body, status) in [
        (String::new(), StatusCode::BAD_REQUEST),
        ("{".into(), StatusCode::BAD_REQUEST),
        ("{}".into(), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({ "token": "0".repeat(2000) }).to_string(),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let response = post(&server, "/confirm/press", JSON, body).await;
        assert_eq!(response.status(), status);
    }
    let table = "ALTER TABLE confirmation_tokens RENAME TO away";
    execute(&server.database_url, table).await;
    let body = json!({ "token": token }).to_string();
    for path in ["/confirm/press", "/confirm/inspect"] {
        let response = post(&server, path, JSON, body.clone()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[rstest]
#[tokio::test]
async fn idle_connection_does_not_delay_shutdown(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut server = TestServer::start(backend).await;
    let mut idle = Vec::new();
    for begin in [
        "",
        "GET /conf",
        "POST /confirm/press HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{",
    ] {
        let mut stream = TcpStream::connect(&server.page_address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    // Other clients are served in the meantime.
    let page = request(&server, Method::GET, "/confirm").send().await;
    assert_eq!(page.unwrap().status(), StatusCode::OK);
    server.stop().await.unwrap();
    for mut stream in idle {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
}

# The service's image: its binary, and beside it only what that needs to run.
#
#   docker build -t contact-service .
#   buildah build --format docker -t contact-service .      (OCI's own format knows no HEALTHCHECK)

# The release that rust-toolchain.toml names, pinned by the digest of its index for all platforms; scripts/test
# checks both. docs/operations/images.md says how to renew it.
ARG RUST_IMAGE=rust:1.95.0-slim-trixie@sha256:e14e87345b4d5964ddcc3491d27ee046a0f23820f340c3c1e24da6880141f7c0

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY . .
# What cargo downloads and builds is kept in cache mounts: BuildKit and buildah have them alike, and the build
# stays one step, without the empty sources that a layer of dependencies needs. A builder that
# keeps no mounts from one run to the next builds everything anew, and gets the same.
# Cargo tells what changed by file times; those of a checkout can be older than the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    find src build.rs proto third_party -exec touch {} + \
    && cargo build --release --locked --bin contact-service \
    && install -D target/release/contact-service /image/usr/local/bin/contact-service

# The root file system: linked dynamically, as glibc is not made to be linked in (its licence, and how it finds what
# looks up names), and with Debian's own libraries, which are renewed with RUST_IMAGE.
#
# - The libraries that the binary names, each where the loader looks for it. Names are looked up by
#   libc itself, by /etc/hosts and DNS.
# - Root certificates, for JWKS over https and for SMTP over TLS: they are looked for here, or in SSL_CERT_FILE.
#   Time zones are compiled in.
# - Of each package its licence and its entry, by which scanners know the version.
# - The service's own folder, and a place for temporary files, should somebody mount one.
WORKDIR /image
RUN ldd usr/local/bin/contact-service >/tmp/ldd \
    && grep -o '/[^ ]*' /tmp/ldd >/tmp/libraries \
    && xargs -a /tmp/libraries cp --parents --dereference --target-directory=. \
    && cp --parents --dereference --target-directory=. /etc/ssl/certs/ca-certificates.crt \
    && mkdir -p var/lib/dpkg/status.d /state/contact-service \
    && for package in libc6 libgcc-s1 ca-certificates; do \
        cp --parents --dereference --target-directory=. "/usr/share/doc/$package/copyright" \
        && dpkg-query --status "$package" >"var/lib/dpkg/status.d/$package" || exit 1; \
    done \
    && mkdir -m 1777 tmp \
    && echo 'hosts: files dns' >etc/nsswitch.conf \
    && echo 'contact-service:x:65532:65532::/var/lib/contact-service:/usr/sbin/nologin' >etc/passwd \
    && echo 'contact-service:x:65532:' >etc/group

FROM scratch
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /state/ /var/lib/

# Within a container loopback is of no use. With development keys the service refuses other
# addresses, so it starts only when it is given JWT_JWKS, SERVICE_KEYS and PHONE_PEPPER, and says so.
ENV LISTEN_ADDR=0.0.0.0:50051 \
    HTTP_ADDR=0.0.0.0:8080 \
    METRICS_ADDR=0.0.0.0:9090 \
    LOG_FORMAT=json

# By number, so that Kubernetes can see that it is not root. The service writes in data/ here, and
# only with an SQLite database there or without SMTP_URL: that wants a volume.
USER 65532:65532
WORKDIR /var/lib/contact-service
# gRPC, the page /confirm, and metrics and probes: the last one never for the public.
EXPOSE 50051 8080 9090
# The service drains for 20 s; give it 30 before it is killed (docker stop waits for 10).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/contact-service", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/contact-service"]
CMD ["serve"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="contact-service" \
    org.opencontainers.image.description="Who may speak for a customer, and who is written to, over gRPC" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

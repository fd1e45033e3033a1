# voltd as an image: docker build -t voltd .
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/voltd && /opt/voltd/bin/pip install --no-cache-dir '.[sparkplug]'

FROM python:3.13-slim
COPY --from=build /opt/voltd /opt/voltd
ENV PATH=/opt/voltd/bin:$PATH
RUN useradd --system --no-create-home voltd && install -d -m 0700 -o voltd /var/lib/voltd
# The spool: readings on disk while the database is away.
ENV VOLTD_SPOOL__DIRECTORY=/var/lib/voltd
VOLUME /var/lib/voltd
USER voltd
ENTRYPOINT ["voltd"]
CMD ["run"]

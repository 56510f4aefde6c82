# The browser's packages: the Socket.IO client and charts.
FROM node:22-alpine AS browser
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev

# Python packages, all of them ready-made: no compiler is needed.
FROM python:3.11-slim AS packages
COPY requirements.txt ./
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes -r requirements.txt
COPY clients/python ./clients/python
# What installs is not needed any more; the environment's own setuptools has known vulnerabilities.
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation ./clients/python && \
    /opt/venv/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ENV=production \
    DATABASE_URL=sqlite:////data/db.sqlite3
RUN useradd --system --uid 10001 server && install -d -o server /data
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY --from=browser /build/node_modules/socket.io-client/dist ./node_modules/socket.io-client/dist
COPY --from=browser /build/node_modules/uplot/dist ./node_modules/uplot/dist
COPY manage.py ./
COPY deploy ./deploy
COPY clients/js/src ./clients/js/src
COPY templates ./templates
COPY static ./static
COPY wsproject ./wsproject
COPY events ./events
COPY monitoring ./monitoring
RUN python manage.py collectstatic --no-input --verbosity 0
USER server
# A new volume starts as a copy of this folder, with the tables in place.
RUN python manage.py migrate --skip-checks --verbosity 0
VOLUME /data
EXPOSE 8001
HEALTHCHECK --interval=30s --timeout=5s --start-period=40s --start-interval=2s --retries=3 CMD ["python", "-m", "deploy.healthcheck"]
CMD ["python", "manage.py", "serve", "--env", "production"]

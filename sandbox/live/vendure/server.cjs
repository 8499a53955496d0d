'use strict';
// A real Vendure shop on 127.0.0.1. `node server.cjs populate` fills a new database and ends; `node server.cjs` serves.
// Environment: SHOP_DATABASE (file), SHOP_PORT, SHOP_USER, SHOP_PASSWORD.
const path = require('node:path');
const core = require('@vendure/core');

const populating = process.argv[2] === 'populate';
const assets = path.join(path.dirname(require.resolve('@vendure/create/package.json')), 'assets');

const config = {
  apiOptions: {
    hostname: '127.0.0.1',
    port: Number(process.env.SHOP_PORT),
    adminApiPath: 'admin-api',
    shopApiPath: 'shop-api',
    cors: false,
  },
  authOptions: {
    tokenMethod: ['bearer'],
    superadminCredentials: { identifier: process.env.SHOP_USER, password: process.env.SHOP_PASSWORD },
  },
  dbConnectionOptions: { type: 'better-sqlite3', synchronize: populating, database: process.env.SHOP_DATABASE },
  paymentOptions: { paymentMethodHandlers: [core.dummyPaymentHandler] },
  plugins: [
    core.DefaultSchedulerPlugin.init(),
    core.DefaultJobQueuePlugin.init({}),
    core.DefaultSearchPlugin.init({}),
  ],
  logger: new core.DefaultLogger({ level: core.LogLevel.Warn, timestamp: false }),
};

async function main() {
  if (populating) {
    const { populate } = require('@vendure/core/cli');
    const app = await populate(
      () => core.bootstrap(config), require(path.join(assets, 'initial-data.json')), path.join(assets, 'products.csv'),
    );
    await app.close();
    process.exit(0);
  }
  // The parent holds our standard input: when it dies, however it dies, the pipe closes and so do we.
  process.stdin.on('end', () => process.exit(0)).resume();
  const app = await core.bootstrap(config);
  await app.get(core.JobQueueService).start();
  console.log('ready');
}

main().catch((fault) => {
  console.error(fault);
  process.exit(1);
});

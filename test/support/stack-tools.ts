/** Before the tests: installs the JDK and the Maven of the streaming stack, and fetches a MariaDB, where that is simple. Without them their tests are left out, and this says so. */
import { ensureTools, hasTools } from '../../examples/stack/java.ts';
import { fetchMariadb } from '../../examples/stack/mariadb-programs.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);
let why = 'the schema registry needs a JDK of 21 or newer: set JAVA_HOME';
try {
  ensureTools(say);
} catch (error) {
  why = error instanceof Error ? error.message : String(error);
}
try {
  await fetchMariadb(say);
} catch (error) {
  say(`the tests on a real MariaDB are LEFT OUT: ${error instanceof Error ? error.message : String(error)}`);
}
if (!hasTools()) say(`the tests of the Kafka road are LEFT OUT: ${why}`);

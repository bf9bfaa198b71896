import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** What pgjdbc, the engine of DBeaver and DataGrip, does through the proxy; prints one JSON object with what it saw. */
public class WithPgjdbc {
    private static final Map<String, String> saw = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        try (Connection db = connect()) {
            statements(db);
            transaction(db);
            copy(db);
            large(db);
            notify(db);
            cancel(db);
            saw.put("after_cancel", quote(value(db, "select 'alive'")));
        } catch (SQLException error) {
            saw.put("refused", quote(error.getMessage()));
            saw.put("sqlstate", quote(error.getSQLState()));
        }
        StringBuilder json = new StringBuilder("{");
        saw.forEach((name, value) -> json.append(json.length() > 1 ? "," : "").append(quote(name)).append(":").append(value));
        System.out.println(json.append("}"));
    }

    private static Connection connect() throws SQLException {
        Properties words = new Properties();
        words.put("user", System.getenv("SB_LOGIN"));
        words.put("sslmode", "verify-full");
        words.put("sslrootcert", System.getenv("SB_CA"));
        words.put("prepareThreshold", "2");
        if (System.getenv("SB_PROGRAM") != null) {
            // In the start-up packet itself; the driver's own name for it comes later, as a statement.
            words.put("ApplicationName", System.getenv("SB_PROGRAM"));
            words.put("assumeMinServerVersion", "9.6");
        }
        return DriverManager.getConnection("jdbc:postgresql://localhost:" + System.getenv("SB_PORT") + "/payments", words);
    }

    private static void statements(Connection db) throws SQLException {
        saw.put("who", quote(value(db, "select current_user")));
        try (Statement simple = db.createStatement()) {
            simple.execute("select 1; select 2");
            saw.put("simple", "[" + quote(String.valueOf(simple.getResultSet() != null)) + "]");
        }
        String insert = "insert into refunds (\"order\", amount, reason) values (?, ?, ?) returning amount";
        try (PreparedStatement typed = db.prepareStatement(insert)) {
            typed.setInt(1, 3);
            typed.setInt(2, 5);
            typed.setString(3, null);
            saw.put("text", quote(first(typed.executeQuery())));
        }
        // Sent in binary once the statement has a name.
        try (PreparedStatement binary = db.prepareStatement("select ?::int8 + 1"); PreparedStatement named = db.prepareStatement("select ?::text")) {
            StringBuilder values = new StringBuilder();
            for (int n = 0; n < 3; n++) {
                binary.setLong(1, 1L << 40);
                saw.put("binary", first(binary.executeQuery()));
                named.setString(1, "n" + n);
                values.append(n > 0 ? "," : "").append(quote(first(named.executeQuery())));
            }
            saw.put("named", "[" + values + "]");
        }
        try (PreparedStatement batch = db.prepareStatement("insert into refunds (\"order\", amount) values (?, ?)")) {
            for (int n = 1; n <= 200; n++) {
                batch.setInt(1, n % 50 + 1);
                batch.setInt(2, n);
                batch.addBatch();
            }
            saw.put("pipelined", String.valueOf(batch.executeBatch().length));
        }
    }

    private static void transaction(Connection db) throws SQLException {
        db.setAutoCommit(false);
        try (Statement statement = db.createStatement()) {
            statement.execute("insert into refunds (\"order\", amount) values (1, 1)");
            statement.execute("select 1 / 0");
        } catch (SQLException error) {
            saw.put("error", quote(error.getSQLState()));
        }
        db.rollback();
        db.setAutoCommit(true);
        saw.put("after_error", quote(value(db, "select 'alive'")));
    }

    private static void copy(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            statement.execute("create temporary table copied (n int, t text)");
        }
        CopyManager copying = db.unwrap(PGConnection.class).getCopyAPI();
        copying.copyIn("copy copied from stdin", new StringReader("1\tline\\nbreak\n".repeat(1000)));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        saw.put("copied", String.valueOf(copying.copyOut("copy copied to stdout", out)));
        saw.put("after_copy", value(db, "select count(*) from copied"));
    }

    private static void large(Connection db) throws SQLException {
        db.setAutoCommit(false);
        long length = 0;
        try (Statement statement = db.createStatement()) {
            statement.setFetchSize(500);
            ResultSet rows = statement.executeQuery("select repeat('x', 10000) from generate_series(1, 2000)");
            while (rows.next()) {
                length += rows.getString(1).length();
            }
        }
        db.commit();
        db.setAutoCommit(true);
        saw.put("large", String.valueOf(length));
    }

    private static void notify(Connection db) throws SQLException {
        PGConnection session = db.unwrap(PGConnection.class);
        try (Statement statement = db.createStatement()) {
            statement.execute("listen news");
            statement.execute("notify news, 'hello'");
        }
        var heard = session.getNotifications(30_000)[0];
        saw.put("notified", "[" + quote(heard.getParameter()) + "," + (heard.getPID() == session.getBackendPID()) + "]");
    }

    private static void cancel(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            Thread other = new Thread(() -> {
                try {
                    // The cancel goes out when the server has said that the statement has begun.
                    while (statement.getWarnings() == null) {
                        Thread.onSpinWait();
                    }
                    statement.cancel();
                } catch (SQLException error) {
                    saw.put("cancel_failed", quote(error.getMessage()));
                }
            });
            other.start();
            try {
                statement.execute("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$");
            } catch (SQLException error) {
                saw.put("cancelled", quote(error.getSQLState()));
            }
            other.join();
        }
    }

    private static String value(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement()) {
            return first(statement.executeQuery(sql));
        }
    }

    private static String first(ResultSet rows) throws SQLException {
        rows.next();
        return rows.getString(1);
    }

    private static String quote(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            json.append(c == '"' || c == '\\' ? "\\" + c : c < ' ' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return json.append('"').toString();
    }
}

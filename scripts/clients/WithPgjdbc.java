import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.OffsetTime;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

/**
 * What pgjdbc, the engine of DBeaver and DataGrip, does through the proxy; prints one JSON object with what it saw.
 * The contract is told in crates/safe-boundary/tests/matrix/program.rs, the checks in checks.rs beside it.
 */
public class WithPgjdbc {
    private static final String PROGRAM = System.getenv("SB_PROGRAM");
    private static final int LARGE = Integer.parseInt(setting("SB_LARGE", "4194304"));

    /** One check: the JSON of what it saw. */
    private interface Check {
        String saw(Connection db) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("who", db -> quote(value(db, "select current_user")));
        checks.put("simple", WithPgjdbc::simple);
        checks.put("prepared", WithPgjdbc::prepared);
        checks.put("types", WithPgjdbc::types);
        checks.put("transaction", WithPgjdbc::transaction);
        checks.put("savepoint", WithPgjdbc::savepoint);
        checks.put("copy_text", db -> copy(db, "copied_text", "", text().getBytes(StandardCharsets.UTF_8)));
        checks.put("copy_binary", WithPgjdbc::copyBinary);
        checks.put("copy_fail", WithPgjdbc::copyFail);
        checks.put("cancel", WithPgjdbc::cancel);
        checks.put("large_result", WithPgjdbc::largeResult);
        checks.put("large_parameter", WithPgjdbc::largeParameter);
        checks.put("notify", WithPgjdbc::notify);
        checks.put("pipeline", WithPgjdbc::pipeline);
        checks.put("large_object", WithPgjdbc::largeObject);
        checks.put("cursor", WithPgjdbc::cursor);
        checks.put("discard_all", WithPgjdbc::discardAll);
        Map<String, String> saw = new LinkedHashMap<>();
        try (Connection db = connect("extended")) {
            for (var check : checks.entrySet()) {
                try {
                    saw.put(check.getKey(), check.getValue().saw(db));
                } catch (Exception error) {
                    saw.put(check.getKey(), quote(error + " at " + error.getStackTrace()[0]));
                }
            }
        } catch (SQLException error) {
            saw.put("refused", quote(error.getMessage()));
            saw.put("sqlstate", quote(error.getSQLState()));
        }
        System.out.println(object(saw));
    }

    private static Connection connect(String queryMode) throws SQLException {
        Properties words = new Properties();
        words.put("user", System.getenv("SB_LOGIN"));
        words.put("sslmode", "verify-full");
        words.put("sslrootcert", System.getenv("SB_CA"));
        // A statement has a name from its second execution on, and its results are then in binary.
        words.put("prepareThreshold", "2");
        words.put("preferQueryMode", queryMode);
        if (PROGRAM != null) {
            // In the start-up packet itself; the driver's own name for it comes later, as a statement.
            words.put("ApplicationName", PROGRAM);
            words.put("assumeMinServerVersion", "9.6");
        }
        String host = setting("SB_HOST", "localhost") + ":" + System.getenv("SB_PORT");
        return DriverManager.getConnection("jdbc:postgresql://" + host + "/" + setting("SB_DATABASE", "payments"), words);
    }

    private static String simple(Connection db) throws Exception {
        // It speaks the extended protocol, a Parse for each statement of a text, unless a connection asks for the other.
        try (Connection simple = connect("simple")) {
            run(simple, "create temporary table two (n int); insert into two values (20), (22)");
            return value(simple, "select sum(n) from two");
        }
    }

    private static String prepared(Connection db) throws Exception {
        StringBuilder saw = new StringBuilder();
        try (PreparedStatement named = db.prepareStatement("select ?::int * 2")) {
            for (int n = 1; n <= 3; n++) {
                named.setInt(1, n);
                saw.append(n > 1 ? "," : "").append(first(named.executeQuery()));
            }
        }
        return "[" + saw + "]";
    }

    private static String types(Connection db) throws Exception {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("bool", true);
        values.put("int2", Short.MIN_VALUE);
        values.put("int4", Integer.MAX_VALUE);
        values.put("int8", Long.MIN_VALUE);
        values.put("float4", 1.5f);
        values.put("float8", 0.1);
        values.put("numeric", new BigDecimal("12345678901234567890.123456789"));
        values.put("text", "Gr\u00fc\u00dfe,\n\t'\u4e16\u754c' \\ \"$1\"");
        values.put("varchar", "a varchar");
        values.put("bytea", new byte[] {0, (byte) 0xff, '\\', '\''});
        values.put("date", LocalDate.parse("2026-02-28"));
        values.put("time", LocalTime.parse("23:59:59.123456"));
        values.put("timetz", OffsetTime.parse("12:34:56+02:00"));
        values.put("timestamp", LocalDateTime.parse("2026-02-28T23:59:59.123456"));
        values.put("timestamptz", OffsetDateTime.parse("2026-02-28T23:59:59.123456Z"));
        values.put("interval", new PGInterval(0, 0, 3, 4, 5, 6));
        values.put("uuid", UUID.fromString("0190f5a5-7e5b-7c3d-8f2e-0123456789ab"));
        values.put("json", other("json", "[\"x\"]"));
        values.put("jsonb", other("jsonb", "{\"a\":[1,null,\"x\"]}"));
        values.put("int4[]", db.createArrayOf("int4", new Object[] {1, null, -3}));
        values.put("text[]", db.createArrayOf("text", new Object[] {"a", "b c", null, "d\"e"}));
        values.put("inet", other("inet", "192.0.2.1"));
        values.put("null", null);
        Map<String, String> saw = new LinkedHashMap<>();
        for (var one : values.entrySet()) {
            String type = one.getKey().equals("null") ? "text" : one.getKey();
            Object back = bound(db, "select ?::" + type, one.getValue(), one.getValue());
            saw.put(one.getKey(), quote((String) bound(db, "select ?::" + type + "::text", back, "")));
        }
        return object(saw);
    }

    private static PGobject other(String type, String text) throws SQLException {
        PGobject value = new PGobject();
        value.setType(type);
        value.setValue(text);
        return value;
    }

    /** Executed until it goes in binary where it can; comes back as the class of `like`. */
    private static Object bound(Connection db, String sql, Object value, Object like) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            Object back = null;
            for (int n = 0; n < 3; n++) {
                if (value == null) {
                    statement.setNull(1, Types.VARCHAR);
                } else {
                    statement.setObject(1, value);
                }
                ResultSet rows = statement.executeQuery();
                rows.next();
                boolean isTime = like instanceof java.time.temporal.Temporal;
                back = isTime ? rows.getObject(1, like.getClass()) : rows.getObject(1);
            }
            return back;
        }
    }

    private static String transaction(Connection db) throws Exception {
        StringBuilder saw = new StringBuilder("[");
        db.setAutoCommit(false);
        for (String sql : new String[] {"select 1 / 0", "select 1"}) {
            try {
                run(db, sql);
            } catch (SQLException error) {
                saw.append(quote(error.getSQLState())).append(",");
            }
        }
        db.rollback();
        db.setAutoCommit(true);
        return saw + quote(value(db, "select 'alive'")) + "]";
    }

    private static String savepoint(Connection db) throws Exception {
        run(db, "create temporary table kept (n int)");
        db.setAutoCommit(false);
        run(db, "insert into kept values (1)");
        Savepoint savepoint = db.setSavepoint("s");
        run(db, "insert into kept values (2)");
        db.rollback(savepoint);
        run(db, "insert into kept values (3)");
        db.commit();
        db.setAutoCommit(true);
        return value(db, "select json_agg(n order by n) from kept");
    }

    private static String text() {
        StringBuilder rows = new StringBuilder();
        for (int n = 1; n <= 1000; n++) {
            rows.append(n).append("\trow ").append(n).append("\\tof 1000\n");
        }
        return rows.toString();
    }

    private static String copyBinary(Connection db) throws Exception {
        ByteArrayOutputStream rows = new ByteArrayOutputStream();
        String made = "select n, 'row ' || n || e'\\tof 1000' from generate_series(1, 1000) n";
        copying(db).copyOut("copy (" + made + ") to stdout (format binary)", rows);
        return copy(db, "copied_binary", " (format binary)", rows.toByteArray());
    }

    private static String copy(Connection db, String table, String options, byte[] rows) throws Exception {
        run(db, "create temporary table " + table + " (n int, t text)");
        copying(db).copyIn("copy " + table + " from stdin" + options, new ByteArrayInputStream(rows));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        copying(db).copyOut("copy (select * from " + table + " order by n) to stdout" + options, out);
        return "{\"rows\":" + value(db, "select count(*) from " + table) + ",\"md5\":" + md5(out.toByteArray()) + "}";
    }

    private static String copyFail(Connection db) throws Exception {
        run(db, "create temporary table failed (n int, t text)");
        CopyIn copying = copying(db).copyIn("copy failed from stdin");
        copying.writeToCopy("1\tone\n".getBytes(StandardCharsets.UTF_8), 0, 6);
        // The driver takes the error for what was wanted and says nothing; the server's log, held against the trail, has it.
        copying.cancelCopy();
        return "[\"57014\"," + value(db, "select count(*) from failed") + "]";
    }

    private static CopyManager copying(Connection db) throws SQLException {
        return db.unwrap(PGConnection.class).getCopyAPI();
    }

    private static String cancel(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            Thread other = new Thread(() -> {
                try {
                    // The cancel goes out when the server has said that the statement has begun.
                    while (statement.getWarnings() == null) {
                        Thread.onSpinWait();
                    }
                    statement.cancel();
                } catch (SQLException error) {
                    error.printStackTrace();
                }
            });
            other.start();
            try {
                statement.execute("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$");
            } catch (SQLException error) {
                other.join();
                return "[" + quote(error.getSQLState()) + "," + quote(value(db, "select 'alive'")) + "]";
            }
        }
        return "null";
    }

    private static String largeResult(Connection db) throws Exception {
        long length = 0;
        try (Statement statement = db.createStatement()) {
            ResultSet rows = statement.executeQuery("select repeat('x', 10000) from generate_series(1, 2000)");
            while (rows.next()) {
                length += rows.getString(1).length();
            }
        }
        return String.valueOf(length);
    }

    private static String largeParameter(Connection db) throws Exception {
        try (PreparedStatement statement = db.prepareStatement("select length(?::text)")) {
            statement.setString(1, "x".repeat(LARGE));
            return first(statement.executeQuery());
        }
    }

    private static String notify(Connection db) throws Exception {
        PGConnection session = db.unwrap(PGConnection.class);
        String channel = "\"" + (PROGRAM == null ? "news" : PROGRAM) + "\"";
        run(db, "listen " + channel);
        run(db, "notify " + channel + ", 'hello'");
        var heard = session.getNotifications(30_000)[0];
        return "[" + quote(heard.getParameter()) + "," + (heard.getPID() == session.getBackendPID()) + "]";
    }

    /** Its pipelines are batches, each with one Sync. */
    private static String pipeline(Connection db) throws Exception {
        run(db, "create temporary table many (n int)");
        String saw = "[" + batch(db, 1) + ",";
        try {
            batch(db, 1, 0, 1);
        } catch (BatchUpdateException error) {
            saw += quote(error.getSQLState()) + ",";
        }
        batch(db, 1, 1);
        return saw + value(db, "select count(*) from many") + "]";
    }

    private static int batch(Connection db, int... values) throws SQLException {
        try (PreparedStatement batch = db.prepareStatement("insert into many values (1 / ?::int)")) {
            for (int value : values) {
                batch.setInt(1, value);
                batch.addBatch();
            }
            return batch.executeBatch().length;
        }
    }

    private static String largeObject(Connection db) throws Exception {
        byte[] written = new byte[1 << 20];
        for (int n = 0; n < written.length; n++) {
            written[n] = (byte) (n % 251);
        }
        db.setAutoCommit(false);
        LargeObjectManager manager = db.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = manager.createLO();
        try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
            object.write(written);
            object.seek(0);
            byte[] read = object.read(written.length);
            object.seek(524288);
            byte[] at = object.read(4);
            String saw = "{\"bytes\":" + read.length + ",\"md5\":" + md5(read) + ",\"at\":" + quote(hex(at)) + "}";
            object.close();
            manager.unlink(oid);
            db.commit();
            return saw;
        } finally {
            db.setAutoCommit(true);
        }
    }

    private static String cursor(Connection db) throws Exception {
        db.setAutoCommit(false);
        long sum = 0;
        try (Statement statement = db.createStatement()) {
            // Becomes the row limit of each Execute.
            statement.setFetchSize(10);
            ResultSet rows = statement.executeQuery("select generate_series(1, 25)");
            while (rows.next()) {
                sum += rows.getLong(1);
            }
        }
        db.commit();
        db.setAutoCommit(true);
        return String.valueOf(sum);
    }

    private static String discardAll(Connection db) throws Exception {
        run(db, "set work_mem = '8MB'");
        String before = value(db, "show work_mem");
        run(db, "discard all");
        String login = value(db, "select current_setting('safe_boundary.login')");
        return "[" + quote(before) + "," + quote(value(db, "show work_mem")) + "," + quote(login) + "]";
    }

    private static void run(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.execute(sql);
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

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null ? otherwise : value;
    }

    private static String md5(byte[] bytes) throws Exception {
        return quote(hex(MessageDigest.getInstance("MD5").digest(bytes)));
    }

    private static String hex(byte[] bytes) {
        StringBuilder hex = new StringBuilder();
        for (byte one : bytes) {
            hex.append(String.format("%02x", one));
        }
        return hex.toString();
    }

    private static String object(Map<String, String> values) {
        StringBuilder json = new StringBuilder("{");
        values.forEach((name, value) -> json.append(json.length() > 1 ? "," : "").append(quote(name)).append(":").append(value));
        return json.append("}").toString();
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

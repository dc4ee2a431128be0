import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.StringTokenizer;

public class Main {
    static final long MOD = 1000000007;
    static long[] sum, mul, add;

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringTokenizer line = new StringTokenizer(in.readLine());
        int n = Integer.parseInt(line.nextToken()), q = Integer.parseInt(line.nextToken());
        sum = new long[4 * n];
        mul = new long[4 * n];
        add = new long[4 * n];
        build(1, 1, n, new StringTokenizer(in.readLine()));
        StringBuilder out = new StringBuilder();
        while (q-- > 0) {
            line = new StringTokenizer(in.readLine());
            String kind = line.nextToken();
            int l = Integer.parseInt(line.nextToken()), r = Integer.parseInt(line.nextToken());
            switch (kind) {
                case "sum" -> out.append(query(1, 1, n, l, r)).append('\n');
                case "add" -> update(1, 1, n, l, r, 1, Long.parseLong(line.nextToken()));
                default -> update(1, 1, n, l, r, Long.parseLong(line.nextToken()), 0);
            }
        }
        System.out.print(out);
    }

    static void build(int node, int lo, int hi, StringTokenizer values) {
        mul[node] = 1;
        if (lo == hi) {
            sum[node] = Long.parseLong(values.nextToken());
            return;
        }
        int mid = (lo + hi) / 2;
        build(2 * node, lo, mid, values);
        build(2 * node + 1, mid + 1, hi, values);
        sum[node] = (sum[2 * node] + sum[2 * node + 1]) % MOD;
    }

    static void apply(int node, int width, long m, long a) {
        sum[node] = (sum[node] * m + width * a) % MOD;
        mul[node] = mul[node] * m % MOD;
        add[node] = (add[node] * m + a) % MOD;
    }

    static void push(int node, int lo, int mid, int hi) {
        apply(2 * node, mid - lo + 1, mul[node], add[node]);
        apply(2 * node + 1, hi - mid, mul[node], add[node]);
        mul[node] = 1;
        add[node] = 0;
    }

    static void update(int node, int lo, int hi, int l, int r, long m, long a) {
        if (r < lo || hi < l) {
            return;
        }
        if (l <= lo && hi <= r) {
            apply(node, hi - lo + 1, m, a);
            return;
        }
        int mid = (lo + hi) / 2;
        push(node, lo, mid, hi);
        update(2 * node, lo, mid, l, r, m, a);
        update(2 * node + 1, mid + 1, hi, l, r, m, a);
        sum[node] = (sum[2 * node] + sum[2 * node + 1]) % MOD;
    }

    static long query(int node, int lo, int hi, int l, int r) {
        if (r < lo || hi < l) {
            return 0;
        }
        if (l <= lo && hi <= r) {
            return sum[node];
        }
        int mid = (lo + hi) / 2;
        push(node, lo, mid, hi);
        return (query(2 * node, lo, mid, l, r) + query(2 * node + 1, mid + 1, hi, l, r)) % MOD;
    }
}

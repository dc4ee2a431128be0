import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.StreamTokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.PriorityQueue;

public class Main {
    record Road(int to, long length) {}

    record Stop(long dist, int town) {}

    public static void main(String[] args) throws IOException {
        StreamTokenizer in = new StreamTokenizer(new BufferedInputStream(System.in));
        int n = next(in), m = next(in), s = next(in), t = next(in);
        List<List<Road>> roads = new ArrayList<>();
        for (int v = 0; v <= n; v++) {
            roads.add(new ArrayList<>());
        }
        for (int i = 0; i < m; i++) {
            int a = next(in), b = next(in), w = next(in);
            roads.get(a).add(new Road(b, w));
            roads.get(b).add(new Road(a, w));
        }
        long[] dist = new long[n + 1];
        int[] before = new int[n + 1];
        Arrays.fill(dist, Long.MAX_VALUE);
        dist[t] = 0;
        PriorityQueue<Stop> queue = new PriorityQueue<>((x, y) -> Long.compare(x.dist(), y.dist()));
        queue.add(new Stop(0, t));
        while (!queue.isEmpty()) {
            Stop stop = queue.poll();
            if (stop.dist() > dist[stop.town()]) {
                continue;
            }
            for (Road road : roads.get(stop.town())) {
                long d = stop.dist() + road.length();
                if (d < dist[road.to()]) {
                    dist[road.to()] = d;
                    before[road.to()] = stop.town();
                    queue.add(new Stop(d, road.to()));
                }
            }
        }
        if (dist[s] == Long.MAX_VALUE) {
            System.out.println(-1);
            return;
        }
        StringBuilder out = new StringBuilder().append(dist[s]).append('\n');
        for (int v = s; v != t; v = before[v]) {
            out.append(v).append(' ');
        }
        System.out.println(out.append(t));
    }

    static int next(StreamTokenizer in) throws IOException {
        in.nextToken();
        return (int) in.nval;
    }
}

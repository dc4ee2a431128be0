import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Scanner;

public class Main {
    record Point(double x, double y) {}

    record Circle(double x, double y, double r) {
        boolean holds(Point p) {
            return Math.hypot(p.x() - x, p.y() - y) <= r * (1 + 1e-12) + 1e-9;
        }
    }

    static Circle two(Point a, Point b) {
        return new Circle((a.x() + b.x()) / 2, (a.y() + b.y()) / 2, Math.hypot(a.x() - b.x(), a.y() - b.y()) / 2);
    }

    static Circle three(Point a, Point b, Point c) {
        double bx = b.x() - a.x(), by = b.y() - a.y(), cx = c.x() - a.x(), cy = c.y() - a.y();
        double det = 2 * (bx * cy - by * cx);
        if (det == 0) {
            Circle best = two(a, b);
            for (Circle o : List.of(two(a, c), two(b, c))) {
                best = o.r() > best.r() ? o : best;
            }
            return best;
        }
        double bb = bx * bx + by * by, cc = cx * cx + cy * cy;
        double x = (cy * bb - by * cc) / det, y = (bx * cc - cx * bb) / det;
        return new Circle(a.x() + x, a.y() + y, Math.hypot(x, y));
    }

    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        int n = in.nextInt();
        List<Point> p = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            p.add(new Point(in.nextInt(), in.nextInt()));
        }
        Collections.shuffle(p, new Random(3));
        Circle best = new Circle(p.get(0).x(), p.get(0).y(), 0);
        for (int i = 0; i < n; i++) {
            if (best.holds(p.get(i))) {
                continue;
            }
            best = new Circle(p.get(i).x(), p.get(i).y(), 0);
            for (int j = 0; j < i; j++) {
                if (best.holds(p.get(j))) {
                    continue;
                }
                best = two(p.get(i), p.get(j));
                for (int k = 0; k < j; k++) {
                    if (!best.holds(p.get(k))) {
                        best = three(p.get(i), p.get(j), p.get(k));
                    }
                }
            }
        }
        System.out.printf(Locale.ROOT, "%.9f%n", best.r());
    }
}
